"""An installation made in place by one Helm release becomes a slot, and nobody who uses it notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import yaml

from include.bluegreen.adopted import ADOPTED
from include.bluegreen.fence import RELEASE_ID
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.kubernetes.requests import Request
from include.errors import AdoptionRefused, ReleaseFenced, StellwerkError
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Gate, ImageRef, SmokeCheck, Traffic
from include.steps.adoption import adopt, undo
from include.steps.cleanup import clean_up
from include.steps.cutover import cut_over
from include.steps.deploy import deploy
from include.steps.drain import drain_left_slot
from include.steps.gate import GO, record_decision
from include.steps.lease import release_lease
from include.steps.legacy import bound
from include.steps.preflight import preflight
from include.steps.record import WATCH_PASSED, record
from include.steps.rollback import switch_back
from include.steps.run import ReleaseRun, open_run
from include.steps.verify import verify_idle, verify_released
from tests.contract.conftest import NodeUrl
from tests.contract.support import Document, HelmCommand, Kubectl, fetch, load, service
from tests.memory import MemoryLedger
from tests.tiers import mainly_helm4

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"

# One chart as a team has it: installed in place with its Service, or as a slot without.
TEMPLATE = """
{{- define "labels" }}{app.kubernetes.io/name: {{ .Values.name }}, app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .Values.slot }}, version: {{ . }}{{ end }}}{{ end }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {password: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app.kubernetes.io/managed-by: Helm}}
spec:
  {{- if not .Values.autoscaled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {{ include "labels" . }}}
  template:
    metadata: {labels: {{ include "labels" . }}}
    spec:
      terminationGracePeriodSeconds: 15
      containers:
        - name: app
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          ports: [{name: http, containerPort: 8080}]
          env:
            - {name: DRAIN_SECONDS, value: "3"}
            - {name: METRICS, value: "yes"}
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1, failureThreshold: 1}
{{- if .Values.traffic }}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Values.traffic }}, labels: {app.kubernetes.io/managed-by: Helm, team: sales}}
spec:
  type: NodePort
  selector: {app.kubernetes.io/name: {{ .Values.name }}
    {{- if .Values.distinct }}, app.kubernetes.io/instance: {{ .Release.Name }}{{ end }}}
  ports: [{name: http, port: 80, targetPort: http}]
{{- end }}
{{- if .Values.autoscaled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: {{ .Release.Name }}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .Release.Name }}}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
{{- end }}
"""
DEFAULTS = {"slot": "", "replicaCount": 2, "traffic": "", "distinct": True, "autoscaled": False}


class Killed(Exception):
    """The process ends here, as after SIGKILL."""


class Mortal(Cluster):
    """A client that dies before or after its n-th request."""

    dies_at: int | None = None
    after = False
    sent = 0

    def lives(self, dies_at: int | None = None, *, after: bool = False) -> None:
        if self.dies_at is None and self.sent == 0:
            answer = self._transport.answer

            async def mortal(request: Request) -> tuple[int, str]:
                self.sent += 1
                fatal = self.sent == self.dies_at
                if fatal and not self.after:
                    raise Killed
                result = await answer(request)
                if fatal:
                    raise Killed
                return result

            self._transport.answer = mortal  # type: ignore[method-assign]
        self.dies_at, self.after, self.sent = dies_at, after, 0


T = TypeVar("T")


@dataclass
class World:
    """An environment whose application was installed in place as Helm release ``name``."""

    kubectl: Kubectl
    helm: HelmCommand
    client: Mortal
    name: str
    run: ReleaseRun
    node_url: NodeUrl
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def install(self, *flags: str, ok: bool = True) -> str:
        """What the old pipeline does."""
        values = {**DEFAULTS, "name": self.name, "traffic": self.name, "autoscaled": True}
        given = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
        image = ("--set-json", 'image={"repository":"contract-app","tag":"1"}')
        chart = str(self.run.chart)
        wait = ("--wait", "--timeout", "60s")
        return self.helm("upgrade", "--install", self.name, chart, *given, *image, *wait, *flags, ok=ok)

    def starts(self, run_id: str) -> None:
        self.run = replace(self.run, run_id=run_id, phase="production-blue-green")

    async def ends(self, run_id: str) -> None:
        """What the last task of a run does."""
        await release_lease(replace(await self.bound(), run_id=run_id), self.client, self.book)

    def approves(self) -> None:
        for role, users in self.run.environment.gate.roles.items():
            record_decision(
                self.book, self.run, role=role, choice=GO, user=users[0], at=datetime.now(UTC), comment=""
            )

    @property
    def book(self) -> Ledger:
        return cast(Ledger, self.ledger)

    @property
    def tool(self) -> Helm:
        return Helm(self.helm.binary, self.helm.kubeconfig, self.helm.namespace)

    async def bound(self) -> ReleaseRun:
        return await bound(self.run, self.client)

    def reached(self) -> str:
        """Where users reach it, now that there are Services; the preflight asks there, too."""
        urls = {"public_url": self.node_url(self.name), "preview_url": self.node_url(f"{self.name}-preview")}
        traffic = self.run.environment.traffic.model_copy(
            update={key: url.rstrip("/") for key, url in urls.items()}
        )
        self.run = replace(self.run, environment=self.run.environment.model_copy(update={"traffic": traffic}))
        self.kubectl.until(lambda: fetch(urls["public_url"])["version"], "somebody serves")
        return urls["public_url"]

    async def preflight(self) -> dict[str, Any]:
        self.reached()
        return await preflight(await self.bound(), self.client, self.tool, self.book)

    async def adopt(self) -> dict[str, Any]:
        return await adopt(await self.bound(), self.client, self.tool, self.book)

    async def undo(self) -> dict[str, Any]:
        return await undo(await self.bound(), self.client, self.book, "a test")

    async def releases(self) -> None:
        """Everything from preflight to the cutover."""
        await self.preflight()
        self.approves()
        await self.adopt()
        await deploy(await self.bound(), self.client, self.tool, self.book)
        await verify_idle(await self.bound(), self.client, self.book)
        await cut_over(await self.bound(), self.client, self.book, watched=False)

    def service(self) -> Document:
        return self.kubectl.get("service", self.name)

    def secrets(self, selector: str) -> list[Document]:
        return self.kubectl.items("secrets", "-l", selector)

    def seen_by_helm(self) -> list[str]:
        return [one["name"] for one in json.loads(self.helm("list", "-o", "json"))]

    def picture(self) -> dict[str, Any]:
        """All that adoption changes, as far as a human or Helm can tell."""
        found = self.service()
        metadata = found["metadata"]
        secrets = [
            (one["metadata"]["name"], one["metadata"]["labels"], one["type"], one["data"])
            for one in self.secrets(f"owner=helm,name={self.name}")
        ]
        mine = (ADOPTED, RELEASE_ID, "stellwerk.io/last-switch")
        return {
            "selector": found["spec"]["selector"],
            "labels": metadata.get("labels"),
            "annotations": {k: v for k, v in metadata.get("annotations", {}).items() if k not in mine},
            "adopted": ADOPTED in metadata.get("annotations", {}),
            "secrets": secrets,
            "kept": [one["metadata"]["name"] for one in self.secrets(f"stellwerk.io/adopted-from={self.name}")],
        }


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart")
    (folder / "templates").mkdir()
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "shop", "version": "1.0.0"}))
    (folder / "values.yaml").write_text(yaml.safe_dump(DEFAULTS))
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    return folder


@asynccontextmanager
async def world(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl, name: str
) -> AsyncIterator[World]:
    name = f"{name}{helm.major}"
    kubectl.apply(service(f"{name}-preview", {NAME: name, "version": "green"}))
    kubectl("delete", "leases", "--all")
    traffic = Traffic(
        service=name,
        preview_service=f"{name}-preview",
        selector={NAME: name},
        public_url="http://127.0.0.1:1",
        preview_url="http://127.0.0.1:1",
        health_paths=("/healthz", "/readyz"),
        metrics_path="/metrics",
    )
    plan = load_plan(plan_folder())
    run = open_run(
        plan,
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id="r1",
        triggered_by="rm",
    )
    environment = run.environment.model_copy(
        update={
            "namespace": kubectl.namespace,
            "helm_release": f"{name}-production",
            "values": {"name": name},
            "slots": {},
            "replicas": 2,
            "deploy_timeout_seconds": 90.0,
            "traffic": traffic,
            "smoke": (SmokeCheck(name="root", path="/"),),
            "gate": Gate(roles={"technical-lead": ("tl",), "business-owner": ("bo",)}),
        }
    )
    image = ImageRef(repository="contract-app", tag="2")
    run = replace(
        run, environment=environment, chart=chart, release=run.release.model_copy(update={"image": image})
    )
    async with Mortal.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as client:
        assert isinstance(client, Mortal)
        yield World(kubectl, helm, client, name, run, node_url)


@mainly_helm4
async def test_adopted_cut_over_back_and_over_again_no_request_is_lost(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl
) -> None:
    async with world(kubectl, helm, chart, node_url, "shop") as shop:
        shop.install()
        shop.install()
        url = shop.reached()
        await asyncio.sleep(2)
        with load(url, workers=6) as requests:
            await there_and_back(shop)
            await asyncio.sleep(1)
        assert requests.lost == []
        assert requests.sent > 500
        assert set(requests.versions) == {"1", "2"}
        print(f"{requests.sent} requests, 0 lost, {dict(requests.versions)}")

        # The old pipeline is told no, also now that nothing of its Deployment is left.
        assert "invalid ownership metadata" in shop.install(ok=False)
        shop.starts("r4")
        evidence = await shop.preflight()
        assert (evidence["from"], evidence["to"]) == ("green", "blue")


async def there_and_back(shop: World) -> None:
    """Adopt, undo, adopt, cut over, switch back, cut over again, clean up."""
    before = shop.picture()
    shop.starts("r1")
    evidence = await shop.preflight()
    assert (evidence["from"], evidence["to"]) == ("blue", "green")
    assert any("becomes slot blue" in fact for fact in evidence["facts"])
    assert shop.picture() == before, "nothing is written before the gate"
    with pytest.raises(StellwerkError, match="is not approved"):
        await shop.adopt()
    assert shop.picture() == before
    shop.approves()
    assert (await shop.adopt())["kept_revisions"] == 2
    assert shop.name not in shop.seen_by_helm()
    assert shop.service()["metadata"]["labels"] == {"team": "sales"}
    assert "invalid ownership metadata" in shop.install(ok=False), "the old pipeline must not take it back"
    assert shop.service()["spec"]["selector"] == before["selector"]

    shop.starts("u1")
    assert (await shop.undo())["undone"]
    assert shop.picture() == before
    await shop.ends("r1")
    shop.install()
    assert shop.seen_by_helm().count(shop.name) == 1

    shop.starts("r2")
    await shop.releases()
    await drain_left_slot(await shop.bound(), shop.client, shop.book)
    shop.starts("u2")
    with pytest.raises(AdoptionRefused, match="traffic is on green"):
        await shop.undo()
    back = await switch_back(await shop.bound(), shop.client, "key users")
    assert (back["from"], back["to"]) == ("green", "blue")
    assert shop.service()["spec"]["selector"] == before["selector"]

    shop.starts("r3")
    record(shop.book, replace(shop.run, run_id="r2"), "rollback.done", {})
    await shop.ends("r2")
    await asyncio.sleep(2)
    await shop.releases()
    record(shop.book, shop.run, WATCH_PASSED, {})
    await asyncio.sleep(2)
    done = await clean_up(await shop.bound(), shop.client, shop.tool, shop.book)
    assert done["deployment"] == shop.name
    assert await clean_up(await shop.bound(), shop.client, shop.tool, shop.book) == done
    await verify_released(await shop.bound(), shop.client, shop.book)
    await shop.ends("r3")
    kinds = ("deployment", "hpa", "configmap")
    left = {kind: [one["metadata"]["name"] for one in shop.kubectl.items(kind)] for kind in kinds}
    assert shop.name not in left["deployment"] + left["hpa"]
    assert shop.name in left["configmap"], "only Deployment and autoscaler are deleted"
    after = shop.picture()
    assert (after["adopted"], after["kept"], after["secrets"]) == (False, [], [])


# Which requests are made, and so where it can be killed, has nothing to do with helm's version.
@pytest.mark.exhaustive
@pytest.mark.parametrize("helm", [4], ids=["helm4"], indirect=True)
async def test_killed_before_or_after_any_request_it_converges(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl
) -> None:
    async with world(kubectl, helm, chart, node_url, "mortal") as shop:
        shop.install("--set", "distinct=false")
        shop.install("--set", "distinct=false")
        before = shop.picture()
        assert set(before["selector"]) == {NAME}
        number, adoptions, undos = 0, 0, 0
        alive = True
        while alive:
            alive = False
            number += 1
            for after in (False, True):
                shop.starts(f"r{number}-{after}")
                shop.client.lives()
                await shop.preflight()
                shop.approves()
                died = await dies(shop, number, shop.adopt, after=after)
                adoptions += died
                done = shop.picture()
                assert done["selector"] == {**before["selector"], INSTANCE: shop.name}
                assert (done["adopted"], done["secrets"], len(done["kept"])) == (True, [], 2)
                assert not any("helm" in key for key in done["annotations"])

                shop.starts(f"u{number}-{after}")
                undone = await dies(shop, number, shop.undo, after=after)
                undos += undone
                assert shop.picture() == before
                shop.client.lives()
                await shop.ends(f"r{number}-{after}")
                alive |= died or undone
        assert adoptions >= 20
        assert undos >= 20
        print(f"killed {adoptions} times while adopting, {undos} times while undoing")


async def dies(shop: World, at: int, step: Callable[[], Awaitable[T]], *, after: bool) -> bool:
    """Whether the step died at that request; it has been run to its end then."""
    shop.client.lives(at, after=after)
    try:
        await step()
        return False
    except Killed:
        shop.client.lives()
        await step()
        return True


async def test_a_release_under_way_cannot_cut_over_once_its_adoption_is_undone(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl
) -> None:
    async with world(kubectl, helm, chart, node_url, "fenced") as shop:
        shop.install()
        await shop.preflight()
        shop.approves()
        await shop.adopt()
        await deploy(await shop.bound(), shop.client, shop.tool, shop.book)
        before = await shop.bound()
        shop.starts("u1")
        await shop.undo()
        shop.starts("r1")
        record(shop.book, shop.run, "verify.passed", {})
        with pytest.raises(ReleaseFenced):
            await cut_over(before, shop.client, shop.book, watched=False)
        assert shop.service()["spec"]["selector"] == {NAME: shop.name, INSTANCE: shop.name}


async def test_a_service_of_no_release_over_any_deployment_is_adopted_as_well(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl
) -> None:
    async with world(kubectl, helm, chart, node_url, "bare") as shop:
        shop.install("--set-json", 'traffic=""')
        kubectl.apply(service(shop.name, {NAME: shop.name, INSTANCE: shop.name}))
        kubectl.until(lambda: len(kubectl.endpoints(shop.name)) == 2, "the Service knows its pods")
        before = shop.picture()
        evidence = await shop.preflight()
        assert (evidence["from"], evidence["to"]) == ("blue", "green")
        shop.approves()
        assert (await shop.adopt())["kept_revisions"] == 0
        assert shop.seen_by_helm().count(shop.name) == 1, "a release without the Service cannot harm it"
        assert shop.service()["spec"]["selector"] == before["selector"]
        assert await shop.adopt() == await shop.adopt()
        shop.starts("u1")
        await shop.undo()
        assert shop.picture()["adopted"] is False
        assert await shop.undo() == {"undone": True, "deployment": shop.name, "reason": "a test"}


async def test_what_was_approved_is_what_is_adopted(
    kubectl: Kubectl, helm: HelmCommand, chart: Path, node_url: NodeUrl
) -> None:
    async with world(kubectl, helm, chart, node_url, "moved") as shop:
        shop.install()
        await shop.preflight()
        shop.approves()
        kubectl("delete", "hpa", shop.name)
        before = shop.picture()
        with pytest.raises(AdoptionRefused, match="not the one that was approved"):
            await shop.adopt()
        assert shop.picture() == before
