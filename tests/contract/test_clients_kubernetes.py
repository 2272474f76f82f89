"""The Kubernetes client against a cluster: what it reads is what is there, what it changes stays nobody's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from include.bluegreen.capacity import usable_endpoints
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster, requests
from include.clients.openmetrics import snapshot
from include.clients.prober import check
from include.errors import ClusterRefused, ClusterUnreachable, PatchRefused
from include.plan.models import SmokeCheck, Traffic
from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    MISSING_IMAGE,
    HelmCommand,
    Kubectl,
    container,
    deployment,
    http_probe,
    pod,
    service,
)


@pytest.fixture
async def client(kubectl: Kubectl) -> AsyncIterator[Cluster]:
    """The client in the module's namespace."""
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as cluster:
        yield cluster


async def until(predicate: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await predicate():
            await asyncio.sleep(0.1)


def hpa(name: str, target: str, minimum: int, maximum: int) -> dict[str, object]:
    """An autoscaler; its metric need not exist for its bounds to be kept."""
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": {"app": target}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": minimum,
            "maxReplicas": maximum,
            "metrics": [metric],
        },
    }  # fmt: skip


async def test_the_server_and_what_is_not_there(client: Cluster) -> None:
    assert (await client.server_version()).startswith("v1.")
    assert await client.service("nothing") is None
    assert await client.deployment("nothing") is None
    assert await client.pods({"app": "nothing"}) == ()
    assert await client.endpoints("nothing") == ()
    assert await client.hpas({"app": "nothing"}) == ()
    assert await client.events("nothing") == ()
    with pytest.raises(ClusterRefused) as caught:
        await client.log_tail("nothing")
    assert caught.value.status == 404


async def test_pods_endpoints_and_what_a_pod_says(client: Cluster, kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl.apply(deployment("seen", replicas=2), service("seen", {"app": "seen"}))

    async def two_ready() -> bool:
        return usable_endpoints(await client.endpoints("seen"), "http") == 2

    await until(two_ready)
    pods = await client.pods({"app": "seen"})
    assert [(one.phase, one.ready, one.deleting, one.waiting_reason) for one in pods] == [
        ("Running", True, False, None)
    ] * 2
    assert all(one.image == "contract-app:1" and one.image_id and one.ip and one.started_at for one in pods)
    endpoints = await client.endpoints("seen")
    assert {(one.pod, one.pod_uid) for one in endpoints} == {(one.name, one.uid) for one in pods}
    assert endpoints[0].ports == {"http": 8080}

    answer = json.loads(await client.pod_get(pods[0].name, "/", port=8080))
    assert answer["pod"] == pods[0].name
    assert json.loads(await client.pod_get(pods[0].name, "/readyz")) == {"ready": True}
    with pytest.raises(ClusterUnreachable, match=pods[0].name):
        await client.pod_get(pods[0].name, "/readyz", port=8081)

    found = await client.service("seen")
    assert found is not None
    assert (found.selector, found.ports[0].name) == ({"app": "seen"}, "http")
    assert found.ports[0].node_port == kubectl.node_port("seen")
    (deployed,) = [one for one in await client.deployments({}) if one.name == "seen"]
    assert (deployed.replicas, deployed.ready, deployed.updated) == (2, 2, 2)
    assert deployed.observed_generation == deployed.generation

    async def answers() -> bool:
        return (await check(node_url("seen", ""), SmokeCheck(name="up", path="/"))).ok

    await until(answers)


async def test_a_pod_that_is_not_ready_is_an_endpoint_that_cannot_be_used(
    client: Cluster, kubectl: Kubectl
) -> None:
    never = container(env={"READY_AFTER": "9999"}, readinessProbe=http_probe("/readyz"))
    portless = {**container(), "ports": []}
    kubectl.apply(
        pod("unready", never),
        service("unready", {"app": "unready"}),
        pod("portless", portless),
        service("portless", {"app": "portless"}),
    )

    async def running(app: str) -> bool:
        return bool(await client.endpoints(app)) and (await client.pods({"app": app}))[0].started_at is not None

    await until(lambda: running("unready"))
    (endpoint,) = await client.endpoints("unready")
    assert not endpoint.ready

    async def ready() -> bool:
        found = await client.endpoints("portless")
        return bool(found) and found[0].ready

    await until(ready)
    (endpoint,) = await client.endpoints("portless")
    assert endpoint.ports == {}, "ready, and refuses every connection all the same"
    assert usable_endpoints([endpoint], "http") == 0


async def test_why_a_pod_does_not_run(client: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(
        pod("noimage", container(image=MISSING_IMAGE)),
        pod("crashing", container(env={"FAIL": "3"})),
    )

    async def reason(app: str, *wanted: str) -> bool:
        return (await client.pods({"app": app}))[0].waiting_reason in wanted

    await until(lambda: reason("noimage", "ErrImagePull", "ImagePullBackOff"))

    async def reported() -> bool:
        events = await client.events("noimage")
        return any(one.type == "Warning" and MISSING_IMAGE.split(":")[0] in one.message for one in events)

    await until(reported)  # a node writes its events beside the pod's status, sooner or later than it
    with pytest.raises(ClusterRefused):
        await client.log_tail("noimage")

    await until(lambda: reason("crashing", "CrashLoopBackOff"))
    (crashing,) = await client.pods({"app": "crashing"})
    assert crashing.restarts >= 1
    assert crashing.terminated_reason == "Error"
    await client.log_tail("crashing", previous=True, lines=3)


async def test_a_rollout_that_goes_on_is_told_from_pods_that_are_added(client: Cluster, kubectl: Kubectl) -> None:
    async def seen(replicas: int, updated: int, outdated: int) -> bool:
        found = await client.deployment("mixed")
        assert found is not None
        return (found.replicas, found.updated, found.outdated) == (replicas, updated, outdated)

    async def scaled() -> bool:
        found = await client.deployment("mixed")
        assert found is not None
        assert found.outdated == 0
        return await seen(3, 3, 0)

    kubectl.apply(deployment("mixed"))
    await until(lambda: seen(2, 2, 0))
    kubectl("scale", "deployment/mixed", "--replicas=3")
    await until(scaled)
    kubectl.apply(deployment("mixed", container(image=MISSING_IMAGE), replicas=3))
    await until(lambda: seen(3, 1, 3))
    kubectl("rollout", "undo", "deployment/mixed")
    await until(lambda: seen(3, 3, 0))


async def test_a_restart_replaces_every_pod_once(client: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(deployment("again", replicas=2))

    async def rolled_out() -> bool:
        found = await client.deployment("again")
        return bool(found and found.ready == found.updated == 2 and found.generation == found.observed_generation)

    await until(rolled_out)
    before = {one.uid for one in await client.pods({"app": "again"})}
    at = datetime.now(UTC)
    assert len(await client.pods_not_restarted({"app": "again"}, at)) == 2
    first = await client.restart_deployment("again", at)

    async def replaced() -> bool:
        return not await client.pods_not_restarted({"app": "again"}, at) and await rolled_out()

    await until(replaced)
    assert before.isdisjoint(one.uid for one in await client.pods({"app": "again"}))
    second = await client.restart_deployment("again", at)
    assert second.generation == first.generation, "the same restart again restarts nothing"


async def test_guarded_patches(client: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(service("guarded", {"app": "one"}))
    good = {"op": "test", "path": "/spec/selector", "value": {"app": "one"}}
    change = {"op": "replace", "path": "/spec/selector", "value": {"app": "two"}}
    with pytest.raises(PatchRefused):
        await client.patch_service("guarded", [{**good, "value": {"app": "other"}}, change])
    with pytest.raises(PatchRefused):
        await client.patch_service("guarded", [good, {"op": "remove", "path": "/metadata/annotations/x"}])
    with pytest.raises(ClusterRefused) as caught:
        await client.patch_service("guarded", [good, {**change, "value": {"a b": "no"}}])
    assert caught.value.status == 422
    assert "a b" in caught.value.seen
    with pytest.raises(ClusterRefused) as caught:
        await client.patch_service("nothing", [good])
    assert caught.value.status == 404
    assert (await client.patch_service("guarded", [good, change])).selector == {"app": "two"}


async def test_without_rights_it_says_so(kubectl: Kubectl, tmp_path: Path) -> None:
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    for token, status in ((kubectl("create", "token", "default").strip(), 403), ("nobody", 401)):
        for user in config["users"]:
            user["user"] = {"token": token}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        async with Cluster.from_kubeconfig(tmp_path / "kubeconfig", kubectl.namespace) as cluster:
            with pytest.raises(ClusterRefused) as caught:
                await cluster.service("any")
        assert caught.value.status == status


async def test_a_certificate_of_another_authority(kubectl: Kubectl, tmp_path: Path) -> None:
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    for one in config["clusters"]:
        for key in ("certificate-authority", "certificate-authority-data"):
            one["cluster"].pop(key, None)
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    async with Cluster.from_kubeconfig(tmp_path / "kubeconfig", kubectl.namespace) as cluster:
        with pytest.raises(ClusterUnreachable, match=r"(?i)certificate"):
            await cluster.service("any")


def sized_chart(folder: Path, *, replicas: bool) -> Path:
    """A chart with an autoscaler, or with a fixed size."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: sized, version: 1.0.0}")
    name = "{{ .Release.Name }}"
    deployed = deployment(name, replicas=1)
    if not replicas:
        del deployed["spec"]["replicas"]
    documents = [deployed] if replicas else [deployed, hpa(name, name, 1, 5)]
    text = yaml.safe_dump_all(documents).replace("minReplicas: 1", "minReplicas: {{ .Values.minimum }}")
    (folder / "templates" / "all.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("how", ["autoscaled", "fixed"])
async def test_what_is_resized_does_not_block_the_next_upgrade(
    client: Cluster, helm: HelmCommand, tmp_path: Path, how: str
) -> None:
    """Helm 4 refuses to apply a field that another manager owns with another value."""
    release = f"{how}{helm.major}"
    chart = sized_chart(tmp_path / "chart", replicas=how == "fixed")
    helm_client = Helm(helm.binary, helm.kubeconfig, helm.namespace)
    await helm_client.upgrade_install(release, chart, {"minimum": 1}, timeout_seconds=60)
    if how == "autoscaled":
        (scaler,) = await client.hpas({"app": release})
        assert (scaler.target, scaler.min_replicas, scaler.max_replicas) == (release, 1, 5)
        assert (await client.set_hpa_minimum(scaler.name, 3)).min_replicas == 3
    await client.scale(release, 0)

    async def gone() -> bool:
        found = await client.deployment(release)
        return found is not None and found.replicas == 0 and not await client.pods({"app": release})

    await until(gone)
    owners = json.loads(await client._transport.text(requests.read("deployments", client.namespace, release)))[
        "metadata"
    ]["managedFields"]
    assert requests.FIELD_MANAGER not in {one["manager"] for one in owners}

    await helm_client.upgrade_install(release, chart, {"minimum": 2}, timeout_seconds=60)
    if how == "autoscaled":
        (scaler,) = await client.hpas({"app": release})
        assert scaler.min_replicas == 2
    await helm_client.uninstall(release, timeout_seconds=60)


async def test_a_snapshot_of_pods_that_expose_no_metrics(client: Cluster, kubectl: Kubectl) -> None:
    traffic = Traffic(
        service="shown",
        preview_service="shown-preview",
        selector={"app": "shown"},
        slot_label="version",
        public_url="http://shown.example",
        preview_url="http://preview.example",
    )
    shown = pod("shown")
    shown["metadata"]["labels"]["version"] = "blue"
    kubectl.apply(shown, service("shown", {"app": "shown", "version": "blue"}))

    async def ready() -> bool:
        return usable_endpoints(await client.endpoints("shown"), "http") == 1

    await until(ready)
    seen = await snapshot(client, traffic, "blue", 1000.0)
    assert (seen.ready_endpoints, seen.pods, len(seen.errors)) == (1, (), 1)
    assert "shown" in seen.errors[0]
