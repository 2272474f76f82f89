"""The Python clients, blocking and asyncio, see the same cluster as kubectl does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import kubernetes
import kubernetes_asyncio
import pytest
from kubernetes_asyncio.client.exceptions import ApiException as AsyncApiException

from tests.contract.conftest import NodeUrl
from tests.contract.support import Kubectl, container, deployment, fetch, http_probe, pod, service


@pytest.fixture
def api(kubectl: Kubectl) -> Iterator[kubernetes.client.ApiClient]:
    with kubernetes.config.new_client_from_config(str(kubectl.kubeconfig)) as client:
        yield client


@pytest.fixture
async def async_api(kubectl: Kubectl) -> AsyncIterator[kubernetes_asyncio.client.ApiClient]:
    configuration = kubernetes_asyncio.client.Configuration()
    await kubernetes_asyncio.config.load_kube_config(str(kubectl.kubeconfig), client_configuration=configuration)
    async with kubernetes_asyncio.client.ApiClient(configuration) as client:
        yield client


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> Iterator[str]:
    """A Deployment and Service `web` with two ready pods."""
    kubectl.apply(deployment("web"), service("web", {"app": "web"}))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    yield "web"
    kubectl("delete", "deployment/web")


def test_blocking_client_scales_and_watches(api: kubernetes.client.ApiClient, kubectl: Kubectl, web: str) -> None:
    apps, core = kubernetes.client.AppsV1Api(api), kubernetes.client.CoreV1Api(api)
    pods = core.list_namespaced_pod(kubectl.namespace, label_selector="app=web")
    assert len(pods.items) == 2
    apps.patch_namespaced_deployment_scale(web, kubectl.namespace, {"spec": {"replicas": 3}})
    watch = kubernetes.watch.Watch()
    stream = watch.stream(
        apps.list_namespaced_deployment, kubectl.namespace, field_selector="metadata.name=web", timeout_seconds=60
    )
    for event in stream:
        if event["object"].status.ready_replicas == 3:
            watch.stop()
    assert apps.read_namespaced_deployment(web, kubectl.namespace).status.ready_replicas == 3
    apps.patch_namespaced_deployment_scale(web, kubectl.namespace, {"spec": {"replicas": 2}})
    kubectl.until(lambda: len(kubectl.pods("web")) == 2, "two pods are left")


def test_blocking_client_follows_logs(api: kubernetes.client.ApiClient, kubectl: Kubectl) -> None:
    kubectl.apply(pod("chatty", container(args=["say", "hello there"]), restartPolicy="Never"))
    kubectl.until(lambda: kubectl.pods("chatty")[0]["status"]["phase"] == "Succeeded", "it is done")
    core = kubernetes.client.CoreV1Api(api)
    response = core.read_namespaced_pod_log("chatty", kubectl.namespace, follow=True, _preload_content=False)
    assert b"".join(response.stream()) == b"hello there\n"
    response.release_conn()


async def test_asyncio_client_swaps_a_selector_by_json_patch(
    async_api: kubernetes_asyncio.client.ApiClient, kubectl: Kubectl
) -> None:
    kubectl.apply(service("swap", {"app": "web", "version": "blue"}))
    core = kubernetes_asyncio.client.CoreV1Api(async_api)
    patch = [
        {"op": "test", "path": "/spec/selector", "value": {"app": "web", "version": "blue"}},
        {"op": "replace", "path": "/spec/selector", "value": {"app": "web", "version": "green"}},
    ]
    swapped = await core.patch_namespaced_service("swap", kubectl.namespace, patch)
    assert swapped.spec.selector == {"app": "web", "version": "green"}
    with pytest.raises(AsyncApiException) as refused:
        await core.patch_namespaced_service("swap", kubectl.namespace, patch)
    assert refused.value.status == 422


async def test_asyncio_client_reads_every_pod_through_the_api_server_at_once(
    async_api: kubernetes_asyncio.client.ApiClient, kubectl: Kubectl, web: str
) -> None:
    core = kubernetes_asyncio.client.CoreV1Api(async_api)
    pods = await core.list_namespaced_pod(kubectl.namespace, label_selector=f"app={web}")
    names = [one.metadata.name for one in pods.items]

    async def ask(name: str) -> str:
        answer: str = await core.connect_get_namespaced_pod_proxy_with_path(
            f"{name}:8080", kubectl.namespace, "about"
        )
        return answer

    answers = await asyncio.gather(*(ask(name) for name in names * 5))
    for name, answer in zip(names * 5, answers, strict=True):
        assert name in answer


async def test_asyncio_client_watches_a_pod_come_and_go(
    async_api: kubernetes_asyncio.client.ApiClient, kubectl: Kubectl, node_url: NodeUrl
) -> None:
    serving = container(readinessProbe=http_probe("/readyz"))
    kubectl.apply(pod("transient", serving), service("transient", {"app": "transient"}))
    core = kubernetes_asyncio.client.CoreV1Api(async_api)
    seen: list[str] = []
    async with kubernetes_asyncio.watch.Watch() as watch:
        stream = watch.stream(
            core.list_namespaced_pod, kubectl.namespace, label_selector="app=transient", timeout_seconds=60
        )
        async for event in stream:
            conditions = {one.type: one.status for one in event["object"].status.conditions or []}
            deleting = event["object"].metadata.deletion_timestamp is not None
            ready = conditions.get("Ready") == "True"
            seen.append("deleted" if event["type"] == "DELETED" else f"ready={ready} deleting={deleting}")
            if ready and not deleting and "asked" not in seen:
                seen.append("asked")
                await asyncio.to_thread(kubectl.until, lambda: fetch(node_url("transient")), "it answers")
                await core.delete_namespaced_pod("transient", kubectl.namespace)
            if event["type"] == "DELETED":
                watch.stop()
    order = [seen.index("asked"), seen.index("ready=False deleting=True"), seen.index("deleted")]
    assert order == sorted(order), seen
