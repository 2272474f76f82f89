"""The old slot goes when nobody needs it, nothing shared goes with it, and the next release takes it as it is."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

import pytest

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.slots import Slot, active_slot
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import switch
from include.errors import StellwerkError, TrafficError
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment, ImageRef
from include.steps import cleanup
from include.steps.cleanup import clean_up, observe_lingering
from include.steps.deploy import deploy
from include.steps.gate import GO, record_decision
from include.steps.lease import release_lease
from include.steps.record import CUT_OVER, STARTED, WATCH_PASSED, record
from include.steps.run import ReleaseRun, open_run
from tests.contract.support import HelmCommand, Kubectl, service
from tests.memory import MemoryLedger
from tests.tiers import mainly_helm4

SECRET = "shared-database"
VALUES = {
    "database": {"existingSecret": SECRET},
    "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 3},
    "config": {"METRICS": "1"},
    "drain": {"preStopSeconds": 0, "seconds": 0, "limitSeconds": 1, "terminationGracePeriodSeconds": 5},
}


def an_environment(policy: Literal["scale-to-zero", "uninstall"] = "scale-to-zero", **more: Any) -> Environment:
    plan = load_plan(plan_folder())
    changes = {"values": VALUES, "replicas": 1, "deploy_timeout_seconds": 60.0, "cleanup": policy, **more}
    return plan.environment("production").model_copy(update=changes)


@dataclass
class World:
    """An application whose traffic is on blue, installed by helm."""

    kubectl: Kubectl
    cluster: Cluster
    helm: Helm
    runs: int = 0

    def run(self, environment: Environment) -> tuple[ReleaseRun, Ledger]:
        """A release that everybody has approved."""
        self.runs += 1
        run = open_run(
            load_plan(plan_folder()),
            release="3.0.0",
            environment="production",
            phase="production-blue-green",
            run_id=f"r{self.runs}",
            triggered_by="release-manager",
        )
        image = ImageRef(repository="contract-app", tag="1")
        run = replace(run, environment=environment, release=run.release.model_copy(update={"image": image}))
        ledger = cast("Ledger", MemoryLedger())
        for role, users in environment.gate.roles.items():
            record_decision(ledger, run, role=role, choice=GO, user=users[0], at=datetime.now(UTC), comment="fine")
        return run, ledger

    async def released(self, run: ReleaseRun, ledger: Ledger, source: Slot, target: Slot) -> None:
        """Everything up to a watch that has passed."""
        record(ledger, run, STARTED, {"from": source, "to": target})
        await deploy(run, self.cluster, self.helm, ledger)
        now = datetime.now(UTC)
        await switch(
            self.cluster,
            run.environment.traffic,
            target=target,
            release_id=run.release_id,
            by="test",
            reason="cutover",
            now=now,
        )
        record(ledger, run, CUT_OVER, {"at": now.isoformat()})
        record(ledger, run, WATCH_PASSED, {})

    async def ready(self, name: str) -> int:
        return usable_endpoints(await self.cluster.endpoints(name), "http")

    def shared(self) -> dict[str, str]:
        """What belongs to neither slot, by uid."""
        names = ("service/valeo-erp", "service/valeo-erp-preview", f"secret/{SECRET}")
        return {name: self.kubectl.get(name)["metadata"]["uid"] for name in names}


@pytest.fixture
async def world(kubectl: Kubectl, helm: HelmCommand) -> AsyncIterator[World]:
    environment = an_environment()
    helm_client = Helm(helm.binary, helm.kubeconfig, helm.namespace)
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as cluster:
        found = World(kubectl, cluster, helm_client)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"url": "x"}}
        traffic = environment.traffic
        kubectl.apply(
            secret,
            service(traffic.service, traffic.selector_for("blue")),
            service(traffic.preview_service, traffic.selector_for("green")),
        )
        run, _ = found.run(environment)
        name = environment.slot_release("blue")
        await helm_client.upgrade_install(name, run.chart, run.values("blue"), timeout_seconds=60)
        while not await found.ready(traffic.service):
            await asyncio.sleep(0.2)
        yield found
        for slot in ("blue", "green"):
            await helm_client.uninstall(environment.slot_release(slot))
        kubectl("delete", "service", traffic.service, traffic.preview_service)
        kubectl("delete", "lease", "--all")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "PATIENCE_SECONDS", 1.0)


@asynccontextmanager
async def somebody_asks(cluster: Cluster, labels: dict[str, str]) -> AsyncIterator[None]:
    """Requests that go to a slot's pods, whatever the traffic Service says."""

    async def ask() -> None:
        while True:
            for pod in await cluster.pods(labels):
                with suppress(StellwerkError):
                    await cluster.pod_get(pod.name, "/")
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait({asking})


async def test_the_old_slot_goes_when_nobody_reaches_it_and_its_history_stays(world: World) -> None:
    environment = an_environment()
    run, ledger = world.run(environment)
    blue, cluster = environment.slot_release("blue"), world.cluster
    await world.released(run, ledger, "blue", "green")
    shared, history = world.shared(), await world.helm.history(blue)

    async with somebody_asks(cluster, environment.traffic.selector_for("blue")):
        lingering = await observe_lingering(run, cluster, "blue", seconds=1)
        assert lingering.requests >= 3
        assert lingering.endpoints == ()
        with pytest.raises(TrafficError, match="somebody still reaches it"):
            await clean_up(run, cluster, world.helm, ledger)
        assert (await cluster.pods(environment.traffic.selector_for("blue"))) != ()

    done = await clean_up(run, cluster, world.helm, ledger)
    assert done["lingering"].startswith("0 request(s)")
    deployment = await cluster.deployment(blue)
    assert deployment is not None
    assert deployment.replicas == 0
    await asyncio.sleep(1)
    assert await cluster.pods(environment.traffic.selector_for("blue")) == (), "its autoscaler is off"
    assert await world.helm.history(blue) == history
    assert world.shared() == shared
    assert await world.ready(environment.traffic.service) == 1
    assert await clean_up(run, cluster, world.helm, ledger) == done, "once more changes nothing"


async def test_uninstalling_takes_the_slot_and_nothing_shared(world: World) -> None:
    environment = an_environment("uninstall", drain="leave")
    run, ledger = world.run(environment)
    blue = environment.slot_release("blue")
    await world.released(run, ledger, "blue", "green")
    shared = world.shared()
    async with somebody_asks(world.cluster, environment.traffic.selector_for("blue")):
        done = await clean_up(run, world.cluster, world.helm, ledger)
    assert not done["lingering"].startswith("0 request(s)"), "left to it, and told"
    assert await world.helm.history(blue) == ()
    named = world.kubectl("get", "deployments,services,configmaps,secrets,hpa", "-o", "name")
    assert blue not in named
    assert environment.slot_release("green") in named
    assert world.shared() == shared
    assert await world.ready(environment.traffic.service) == 1


STATES = (
    "scaled to zero", "uninstalled", "failed", "pending-upgrade", "pending-rollback", "pending-install",
    "uninstalling", "by hand",
)  # fmt: skip


@mainly_helm4
async def test_the_next_release_takes_the_slot_in_whatever_state(world: World) -> None:
    environment = an_environment()
    name = environment.slot_release("green")
    for state in STATES:
        await _bring_into(world, environment, name, state)
        run, ledger = world.run(environment)
        record(ledger, run, STARTED, {"from": "blue", "to": "green"})
        done = await deploy(run, world.cluster, world.helm, ledger)
        assert done["ready"] == 1, state
        history = await world.helm.history(name)
        assert max(history, key=lambda one: one.revision).status == "deployed", state
        found = await world.cluster.service(environment.traffic.service)
        assert active_slot(found, environment.traffic) == "blue"
        assert await deploy(run, world.cluster, world.helm, ledger) == done, "once more changes nothing"
        assert (await release_lease(run, world.cluster, ledger))["released"]


async def _bring_into(world: World, environment: Environment, name: str, state: str) -> None:
    run, _ = world.run(environment)
    if state in ("uninstalled", "pending-install"):
        await world.helm.uninstall(name)
    if state == "uninstalled":
        return
    await world.helm.upgrade_install(name, run.chart, run.values("green"), timeout_seconds=60)
    if state == "scaled to zero":
        await world.cluster.scale(name, 0)
    elif state == "by hand":
        world.kubectl("delete", "deployment", name)
    else:
        _pretend(world.kubectl, name, state)


def _pretend(kubectl: Kubectl, name: str, status: str) -> None:
    """Let helm's newest revision look as a helm that was killed leaves it."""
    secrets = kubectl.items("secrets", "-l", f"owner=helm,name={name}")
    newest = max(secrets, key=lambda one: int(one["metadata"]["labels"]["version"]))
    content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(newest["data"]["release"]))))
    content["info"]["status"] = status
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
    change = {"metadata": {"labels": {"status": status}}, "data": {"release": packed}}
    kubectl("patch", "secret", newest["metadata"]["name"], "--type", "merge", "-p", json.dumps(change))
