"""The way back from every state the old slot can be in: brought back and switched, or refused, nothing moves."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from include.bluegreen.fence import last_switch
from include.bluegreen.slots import Slot, active_slot
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, switch
from include.errors import NotEnoughEndpoints, RollbackBlocked, RollbackRefused, StellwerkError
from include.ledger.store import Ledger
from include.messages.model import Message
from include.plan.legacy import Former, Legacy
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment, ImageRef, SmokeCheck, Traffic
from include.steps import drain, observe
from include.steps.bring_back import bring_back
from include.steps.record import SWITCHED_BACK, record
from include.steps.rollback import record_switch_back, record_trouble, switch_back, verify_traffic
from include.steps.rollback_choice import choose
from include.steps.rollback_messages import tell
from include.steps.rollback_story import Desk
from include.steps.run import ReleaseRun
from include.steps.schema_course import RESTORED
from include.steps.schema_proof import schema_proof
from include.steps.stopping import resume_application, stop_application
from tests.contract.conftest import NodeUrl
from tests.contract.support import HelmCommand, Kubectl, container, deployment, fetch, load, service
from tests.memory import MemoryLedger
from tests.tiers import mainly_helm4

OLD, NEW, MISSING = "2.9.0", "3.0.0", "9.9.9"
VALUES = {
    "database": {"existingSecret": "database"},
    "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 3},
    "drain": {"preStopSeconds": 0, "seconds": 0, "limitSeconds": 1, "terminationGracePeriodSeconds": 5},
}


@dataclass
class World:
    """An application whose release was cut over from blue (the old version) to green (the new one)."""

    kubectl: Kubectl
    cluster: Cluster
    helm: Helm
    command: HelmCommand
    released: ReleaseRun

    @property
    def environment(self) -> Environment:
        return self.released.environment

    @property
    def blue(self) -> str:
        return self.environment.slot_release("blue")

    def rollback(self, number: int = 1, **changes: Any) -> ReleaseRun:
        """A run of `rollback`."""
        environment = self.environment.model_copy(update=changes)
        run = self.released
        return ReleaseRun(run.release, environment, run.chart, "rollback", f"rb{number}", "release-manager")

    async def install(self, slot: Slot, version: str, *, wait: bool = True) -> None:
        await self.helm.upgrade_install(
            self.environment.slot_release(slot),
            self.released.chart,
            values_of(self.released, slot, version),
            timeout_seconds=60,
            wait=wait,
        )

    async def choose(self, option: str = "auto", run: ReleaseRun | None = None) -> dict[str, Any]:
        return await choose(run or self.rollback(), self.cluster, self.helm, "unchanged", option)

    async def bring_back(self, option: str = "auto", run: ReleaseRun | None = None) -> dict[str, Any]:
        return await bring_back(run or self.rollback(), self.cluster, self.helm, "unchanged", option)

    async def active(self) -> Slot:
        traffic = self.environment.traffic
        return active_slot(await self.cluster.service(traffic.service), traffic)

    async def images(self) -> set[str]:
        """What the ready pods of blue run."""
        pods = await self.cluster.pods(self.environment.traffic.selector_for("blue"))
        return {pod.image for pod in pods if pod.ready and not pod.deleting}

    async def newest(self) -> tuple[int, str]:
        newest = (await self.helm.history(self.blue))[-1]
        return newest.revision, newest.status

    async def cut_over(self) -> None:
        """Traffic on green, by the release."""
        traffic = self.environment.traffic
        await claim(self.cluster, traffic, self.released.release_id)
        await switch(
            self.cluster,
            traffic,
            target="green",
            release_id=self.released.release_id,
            by="test",
            reason="cutover",
            now=datetime.now(UTC),
        )


def values_of(run: ReleaseRun, slot: Slot, version: str) -> dict[str, Any]:
    image = ImageRef(repository="rollback-app", tag=version)
    return replace(run, release=run.release.model_copy(update={"image": image})).values(slot)


@pytest.fixture(scope="module")
def images(cluster: Any) -> None:
    from tests.contract.support import APP

    for version in (OLD, NEW):
        cluster.import_image(f"rollback-app:{version}", APP, entrypoint=["/app/run"], env={"VERSION": version})


@pytest.fixture
async def world(
    images: None, kubectl: Kubectl, helm: HelmCommand, node_url: NodeUrl, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(observe, "LEAD_SECONDS", 0.2)
    monkeypatch.setattr(drain, "SETTLE_SECONDS", 0.5)
    plan = load_plan(plan_folder())
    environment = plan.environment("production")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "stringData": {"url": "x"}}
    labels = environment.traffic.selector_for
    kubectl.apply(secret, service("valeo-erp", labels("blue")), service("valeo-erp-preview", labels("green")))
    traffic = environment.traffic.model_copy(
        update={"public_url": node_url("valeo-erp", ""), "preview_url": node_url("valeo-erp-preview", "")}
    )
    changes = {
        "values": VALUES,
        "replicas": 2,
        "deploy_timeout_seconds": 40.0,
        "traffic": traffic,
        "smoke": (SmokeCheck(name="page", path="/"),),
        "drain": "leave",
    }
    chart = plan.chart(environment)
    environment = environment.model_copy(update=changes)
    release = plan.release("3.0.0").model_copy(
        update={"previous": OLD, "image": ImageRef(repository="rollback-app", tag=NEW)}
    )
    run = ReleaseRun(release, environment, chart, "production-blue-green", "r1", "release-manager")
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as client:
        found = World(kubectl, client, Helm(helm.binary, helm.kubeconfig, helm.namespace), helm, run)
        await asyncio.gather(found.install("blue", OLD), found.install("green", NEW))
        await found.cut_over()
        kubectl.until(lambda: fetch(node_url("valeo-erp"))["version"] == NEW, "green answers")
        yield found
        for slot in ("blue", "green"):
            await found.helm.uninstall(environment.slot_release(cast("Slot", slot)))
        kubectl("delete", "service", traffic.service, traffic.preview_service)


# -- every state of the old slot -----------------------------------------------------------------------------


async def test_after_the_clean_up_it_is_brought_back_and_nobody_notices(world: World, node_url: NodeUrl) -> None:
    await world.cluster.scale(world.blue, 0)
    world.kubectl.until(lambda: len(world.kubectl.items("pods", "-l", "version=blue")) == 0, "blue is gone")
    with pytest.raises(RollbackBlocked, match="it takes helm-rollback"):
        await world.choose("blue-cutover")
    chosen = await world.choose()
    assert chosen["option"] == "helm-rollback"
    assert chosen["options"]["blue-cutover"] == [False, "the old slot has been cleaned up"]
    with load(node_url("valeo-erp"), workers=4) as users:
        done = await world.bring_back()
        assert (done["needed"], done["ready"], done["required"], done["revision"]) == (True, 2, 2, 1)
        assert await world.newest() == (2, "deployed")
        assert not (await world.bring_back())["needed"], "its pods are there: the same switch as ever"
        assert await world.active() == "green", "bringing back moves nobody"
        back = await switch_back(world.rollback(), world.cluster, "key users")
        await verify_traffic(world.rollback(), world.cluster)
    assert (back["from"], back["to"]) == ("green", "blue")
    assert (back["observation"]["lost"], users.lost) == (0, [])
    assert list(users.versions) == [NEW, OLD]
    assert (await world.choose())["done"]
    assert not (await world.bring_back())["needed"]


STATES = (
    "scaled to zero", "deleted by hand", "wrong image", "image that does not exist", "pending-upgrade",
    "pending-rollback", "uninstalled with its history",
)  # fmt: skip


@mainly_helm4
async def test_the_old_version_comes_back_into_its_slot_in_whatever_state(world: World) -> None:
    for state in STATES:
        await _bring_into(world, state)
        chosen = await world.choose()
        assert chosen["option"] == "helm-rollback", (state, chosen)
        done = await world.bring_back()
        assert done["needed"], state
        assert await world.images() == {f"rollback-app:{OLD}"}, state
        assert (await world.newest())[1] == "deployed", state
        assert await world.active() == "green", state
    found = await switch_back(world.rollback(), world.cluster, "key users")
    assert found["to"] == "blue"


async def _bring_into(world: World, state: str) -> None:
    kubectl, name = world.kubectl, world.blue
    if state == "scaled to zero":
        kubectl("scale", "deployment", name, "--replicas=0")
    elif state == "deleted by hand":
        kubectl("delete", "deployment", name)
    elif state == "wrong image":
        kubectl("set", "image", f"deployment/{name}", f"erp=rollback-app:{NEW}")
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
        kubectl.until(lambda: _running(kubectl) == {f"rollback-app:{NEW}"}, "only the wrong one runs")
    elif state == "image that does not exist":
        await world.install("blue", MISSING, wait=False)
        kubectl("delete", "pods", "-l", "version=blue", "--wait=false")
        kubectl("scale", "deployment", name, "--replicas=0")
        kubectl.until(lambda: not kubectl.items("pods", "-l", "version=blue"), "no pod is left")
    elif state == "uninstalled with its history":
        world.command("uninstall", name, "--keep-history", "--wait")
    else:
        kubectl("scale", "deployment", name, "--replicas=0")
        _rewrite(kubectl, name, lambda content: content["info"].update(status=state), status=state)
    kubectl.until(lambda: world_is_down(kubectl, state), "the slot has lost what it had")


def _running(kubectl: Kubectl) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in kubectl.items("pods", "-l", "version=blue")}


def world_is_down(kubectl: Kubectl, state: str) -> bool:
    return state == "wrong image" or not kubectl.items("pods", "-l", "version=blue")


def _rewrite(kubectl: Kubectl, name: str, change: Any, *, status: str | None = None, newest: bool = True) -> None:
    """Change what helm remembers of a release: as a helm that was killed leaves it, or as time has made it."""
    secrets = kubectl.items("secrets", "-l", f"owner=helm,name={name}")
    secrets.sort(key=lambda one: int(one["metadata"]["labels"]["version"]))
    for secret in secrets[-1:] if newest else secrets:
        content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        change(content)
        packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
        patch: dict[str, Any] = {"data": {"release": packed}}
        if status:
            patch["metadata"] = {"labels": {"status": status}}
        kubectl("patch", "secret", secret["metadata"]["name"], "--type", "merge", "-p", json.dumps(patch))


async def test_what_cannot_be_brought_back_moves_nothing_and_pages(world: World) -> None:
    """The old slot has lost its pods, and its Helm release holds nothing that the cluster would take."""
    await world.cluster.scale(world.blue, 0)
    world.kubectl.until(lambda: not world.kubectl.items("pods", "-l", "version=blue"), "blue is gone")

    def unknown_field(content: dict[str, Any]) -> None:
        content["manifest"] = content["manifest"].replace("revisionHistoryLimit:", "revisionHistoryLimits:")

    _rewrite(world.kubectl, world.blue, unknown_field)
    await _blocked(world, "the cluster does not accept it")
    await world.helm.uninstall(world.blue)
    await _blocked(world, "it has been uninstalled")
    with pytest.raises(RollbackRefused, match="there is no rollback option teleport"):
        await world.choose("teleport")


async def _blocked(world: World, why: str) -> None:
    run, ledger = world.rollback(), MemoryLedger()
    before = await world.cluster.service("valeo-erp")
    for step in (world.choose, world.bring_back):
        with pytest.raises(NotEnoughEndpoints, match=why) as caught:
            await step()
    record_trouble(run, cast("Ledger", ledger), "eligibility", caught.value)
    with pytest.raises(NotEnoughEndpoints, match="no ready endpoint"):
        await switch_back(run, world.cluster, "key users")
    assert await world.cluster.service("valeo-erp") == before
    (page,) = told(world, run, ledger, before)
    assert page.channel == "#valeo-erp-alerts"
    assert "has NOT been rolled back, nothing was moved" in page.text
    assert why in page.text


def told(world: World, run: ReleaseRun, ledger: MemoryLedger, service: Any) -> list[Message]:
    sent: list[Message] = []
    send = {"slack": sent.append, "mail": sent.append}
    desk = Desk(run, cast("Ledger", ledger), service, send, datetime.now(UTC))
    for duty in ("alert", "mail", "post-mortem"):
        tell(desk, cast("Any", duty))
    return sent


async def test_a_revision_that_failed_or_is_another_version_is_passed_over(world: World) -> None:
    with pytest.raises(StellwerkError):
        await world.helm.upgrade_install(
            world.blue,
            world.released.chart,
            values_of(world.released, "blue", MISSING),
            timeout_seconds=2,
        )
    assert (await world.newest())[1] == "failed"
    await world.install("blue", NEW)
    chosen = await world.choose()
    assert chosen["options"]["blue-cutover"] == [
        False,
        f"the old slot was changed by hand: it runs rollback-app:{NEW}",
    ]
    done = await world.bring_back()
    assert done["revision"] == 1
    assert await world.images() == {f"rollback-app:{OLD}"}


async def test_the_bad_slot_may_crash_and_the_way_back_is_open(world: World) -> None:
    name = world.environment.slot_release("green")
    world.kubectl("set", "env", f"deployment/{name}", "CRASH=1")
    world.kubectl("set", "image", f"deployment/{name}", f"erp=rollback-app:{MISSING}")
    world.kubectl("delete", "pods", "-l", "version=green", "--wait=false")
    chosen = await world.choose()
    assert chosen["option"] == "blue-cutover"
    back = await switch_back(world.rollback(), world.cluster, "it crashes")
    assert back["to"] == "blue"


async def test_an_adopted_deployment_is_scaled_up_again(world: World) -> None:
    labels = {"app": "legacy"}
    legacy = Legacy(slot="blue", selector=labels, deployment="legacy", former=Former(selector=labels))
    one = deployment("legacy", container(image=f"rollback-app:{OLD}"), replicas=0)
    world.kubectl.apply(one)
    run = world.rollback().adopting(legacy)
    chosen = await world.choose(run=run)
    assert chosen["option"] == "helm-rollback"
    done = await world.bring_back(run=run)
    assert (done["helm_release"], done["revision"], done["ready"]) == (None, None, 2)
    back = await switch_back(run, world.cluster, "key users")
    assert back["to"] == "blue"
    world.kubectl("delete", "deployment", "legacy")
    world.kubectl.until(lambda: not world.kubectl.pods("legacy"), "it is gone")


# -- while the database is restored ---------------------------------------------------------------------------


async def test_stopped_for_a_restore_only_the_old_version_comes_back(world: World, node_url: NodeUrl) -> None:
    run, ledger = world.rollback(), cast("Ledger", MemoryLedger())
    stopped = await stop_application(run, world.cluster, ledger)
    assert stopped["sizes"].keys() == {"blue", "green"}
    assert not world.kubectl.items("pods", "-l", "app.kubernetes.io/name=valeo-erp")
    with pytest.raises(NotEnoughEndpoints, match="being restored"):
        await choose(run, world.cluster, world.helm, schema_proof(run, ledger), "auto")
    assert await resume_application(run, world.cluster, ledger) == {"needed": True, "sizes": stopped["sizes"]}
    world.kubectl.until(lambda: fetch(node_url("valeo-erp"))["version"] == NEW, "as it was")

    await stop_application(run, world.cluster, ledger)
    record(ledger, run, RESTORED, {})
    back = partial(bring_back, run, world.cluster, world.helm, schema_proof(run, ledger), "auto", was_stopped=True)
    assert (await back())["needed"]
    assert not (await back())["needed"], "its pods are there"
    await switch_back(run, world.cluster, "the data are damaged")
    await verify_traffic(run, world.cluster)
    assert fetch(node_url("valeo-erp"))["version"] == OLD
    assert not world.kubectl.items("pods", "-l", "version=green"), "it does not belong to the old database"


async def test_after_a_switch_back_it_is_stopped_and_brought_back_where_it_is(
    world: World, node_url: NodeUrl
) -> None:
    run, ledger = world.rollback(), cast("Ledger", MemoryLedger())
    await switch_back(run, world.cluster, "key users")
    assert (await world.choose())["done"]
    await stop_application(run, world.cluster, ledger)
    record(ledger, run, RESTORED, {})
    done = await bring_back(run, world.cluster, world.helm, "unchanged", "auto", was_stopped=True)
    assert (done["slot"], done["needed"]) == ("blue", True)
    await switch_back(run, world.cluster, "the data are damaged")
    await verify_traffic(run, world.cluster)
    assert fetch(node_url("valeo-erp"))["version"] == OLD


# -- several at once, nobody, by hand ------------------------------------------------------------------------


async def test_two_rollbacks_at_once_are_one_switch_and_one_set_of_messages(world: World) -> None:
    await world.cluster.scale(world.blue, 0)
    world.kubectl.until(lambda: not world.kubectl.items("pods", "-l", "version=blue"), "blue is gone")
    ledger = MemoryLedger()
    async with AsyncExitStack() as stack:
        open_client = Cluster.from_kubeconfig(world.kubectl.kubeconfig, world.kubectl.namespace)
        second = await stack.enter_async_context(open_client)

        async def play(number: int, cluster: Cluster) -> dict[str, Any]:
            run = world.rollback(number)
            await choose(run, cluster, world.helm, "unchanged", "auto")
            await bring_back(run, cluster, world.helm, "unchanged", "auto")
            done = await switch_back(run, cluster, f"reason {number}")
            record_switch_back(run, cast("Ledger", ledger), done)
            return done

        first_done, second_done = await asyncio.gather(play(1, world.cluster), play(2, second))
    facts = [(one["by"], one["reason"], one["at"], one["to"]) for one in (first_done, second_done)]
    assert facts[0] == facts[1]
    assert len([entry for entry in ledger.written if entry.kind == SWITCHED_BACK]) == 1
    found = await world.cluster.service("valeo-erp")
    assert await world.images() == {f"rollback-app:{OLD}"}
    sent = [message for number in (1, 2) for message in told(world, world.rollback(number), ledger, found)]
    assert [message.key.rpartition(":")[2] for message in sent] == [
        "rollback-alert",
        "rollback-mail",
        "post-mortem",
    ]


async def test_a_release_that_never_cut_over_is_refused_and_alarms_nobody(world: World) -> None:
    other = world.rollback()
    other = replace(other, release=other.release.model_copy(update={"version": "3.0.7"}))
    for step in (world.choose, world.bring_back):
        with pytest.raises(RollbackRefused, match="there is nothing to roll back"):
            await step(run=other)
    found = await world.cluster.service("valeo-erp")
    (answer,) = told(world, other, MemoryLedger(), found)
    assert answer.channel == "#valeo-erp-status"
    assert "ausgelöst von release-manager: 3.0.7 holds no traffic of production" in answer.text


async def test_a_selector_that_was_changed_by_hand_is_the_switch(world: World) -> None:
    traffic: Traffic = world.environment.traffic
    patch = [{"op": "replace", "path": "/spec/selector", "value": traffic.selector_for("blue")}]
    world.kubectl("patch", "service", traffic.service, "--type", "json", "-p", json.dumps(patch))
    assert (await world.choose())["done"]
    assert not (await world.bring_back())["needed"]
    back = await switch_back(world.rollback(), world.cluster, "")
    assert (back["by"], back["to"]) == ("by hand", "blue")
    assert await switch_back(world.rollback(2), world.cluster, "again") == back
    found = await world.cluster.service(traffic.service)
    assert found is not None
    moved = last_switch(found)
    assert moved is not None
    assert moved.direction == "back"


async def test_bringing_back_that_is_killed_goes_on_where_it_was(world: World) -> None:
    world.kubectl("delete", "deployment", world.blue)
    world.kubectl.until(lambda: not world.kubectl.items("pods", "-l", "version=blue"), "blue is gone")
    for seconds in (0.3, 1.0, 1.5):
        attempt = asyncio.create_task(world.bring_back())
        await asyncio.sleep(seconds)
        attempt.cancel()
        await asyncio.wait({attempt})
    done = await world.bring_back()
    assert await world.images() == {f"rollback-app:{OLD}"}
    assert done["slot"] == "blue"
    facts: Mapping[str, Any] = await switch_back(world.rollback(), world.cluster, "key users")
    assert facts["to"] == "blue"
