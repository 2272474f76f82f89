"""Services and proxies carry traffic as kube-proxy and the API server do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    IMAGE,
    NEXT_IMAGE,
    Kubectl,
    container,
    deployment,
    fetch,
    http_probe,
    load,
    pod,
    service,
)


@pytest.fixture(scope="module")
def slots(kubectl: Kubectl) -> Iterator[None]:
    """Two Deployments, `blue` (version 1) and `green` (version 2), and a Service that points at blue."""
    for slot, image in (("blue", IMAGE), ("green", NEXT_IMAGE)):
        serving = container(image=image, env={"DRAIN_SECONDS": "3"}, readinessProbe=http_probe("/readyz"))
        kubectl.apply(deployment(slot, serving))
    kubectl.apply(service("shop", {"app": "blue"}))
    for slot in ("blue", "green"):
        kubectl("rollout", "status", f"deployment/{slot}", "--timeout=60s")
    yield
    kubectl("delete", "deployment", "blue", "green")


def point(kubectl: Kubectl, slot: str) -> None:
    patch = [{"op": "replace", "path": "/spec/selector", "value": {"app": slot}}]
    kubectl("patch", "service", "shop", "--type", "json", "-p", json.dumps(patch))


@pytest.fixture
def at_blue(slots: None, kubectl: Kubectl, node_url: NodeUrl) -> None:
    """The Service points at blue and everybody knows."""
    point(kubectl, "blue")
    kubectl.until(lambda: {fetch(node_url("shop"))["version"] for _ in range(6)} == {"1"}, "blue answers")
    time.sleep(2)


@pytest.mark.usefixtures("at_blue")
def test_a_service_spreads_over_its_ready_pods(kubectl: Kubectl, node_url: NodeUrl) -> None:
    names = {one["metadata"]["name"] for one in kubectl.pods("blue")}
    with load(node_url("shop")) as result:
        kubectl.until(lambda: result.sent > 60, "requests are sent")
    assert set(result.pods) == names
    assert result.lost == []


@pytest.mark.usefixtures("at_blue")
def test_a_cutover_under_load_loses_no_request_and_is_quick(kubectl: Kubectl, node_url: NodeUrl) -> None:
    with load(node_url("shop")) as result:
        kubectl.until(lambda: result.sent > 30, "requests are sent")
        point(kubectl, "green")
        patched = time.monotonic()
        time.sleep(3)
    assert result.lost == []
    assert set(result.versions) == {"1", "2"}
    assert result.last["1"] - patched < 2, "new connections follow within kube-proxy's time"
    assert result.last["2"] - patched > 2


@pytest.mark.usefixtures("at_blue")
def test_kept_connections_stay_where_they_are_until_their_pods_end(kubectl: Kubectl, node_url: NodeUrl) -> None:
    with load(node_url("shop"), workers=4, keep_alive=True) as kept:
        kubectl.until(lambda: kept.sent > 20, "requests are sent")
        point(kubectl, "green")
        time.sleep(3)
        assert set(kept.versions) == {"1"}, "no connection moved"
        kubectl("rollout", "restart", "deployment/blue")
        kubectl("rollout", "status", "deployment/blue", "--timeout=60s")
        kubectl.until(lambda: kept.versions["2"] > 20, "connections that were closed come back at green")
        time.sleep(4)
    assert kept.last["2"] - kept.last["1"] > 2
    assert kept.lost == []


@pytest.mark.usefixtures("at_blue")
def test_pods_and_services_answer_through_the_api_server(kubectl: Kubectl) -> None:
    name = kubectl.pods("green")[0]["metadata"]["name"]
    base = f"/api/v1/namespaces/{kubectl.namespace}"
    for reference in (name, f"{name}:8080", f"http:{name}:8080"):
        answer = json.loads(kubectl.raw(f"{base}/pods/{reference}/proxy/about?seconds=0"))
        assert (answer["pod"], answer["version"]) == (name, "2")
    for reference in ("shop:80", "shop:http", "http:shop:http"):
        assert json.loads(kubectl.raw(f"{base}/services/{reference}/proxy/"))["version"] == "1"


def test_a_proxied_pod_that_does_not_listen_is_a_server_error(slots: None, kubectl: Kubectl) -> None:
    name = kubectl.pods("green")[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}:8099/proxy/"
    message = kubectl("get", "--raw", path, ok=False)
    assert "refused" in message or "ServiceUnavailable" in message or "unable to" in message, message


def test_a_service_whose_pods_lack_the_port_has_no_usable_endpoint(kubectl: Kubectl, node_url: NodeUrl) -> None:
    portless = container(readinessProbe={"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1})
    portless["ports"] = []
    kubectl.apply(pod("portless", portless), service("portless", {"app": "portless"}))
    kubectl("wait", "--for=condition=Ready", "pod/portless", "--timeout=60s")
    kubectl.until(lambda: kubectl.endpoints("portless"), "the endpoint exists")
    slices = kubectl.items("endpointslices", "-l", "kubernetes.io/service-name=portless")
    assert kubectl.endpoints("portless")[0]["conditions"]["ready"] is True
    assert slices[0]["ports"] is None
    with pytest.raises(ConnectionRefusedError):
        fetch(node_url("portless"))


def test_endpoints_follow_readiness_and_deletion(slots: None, kubectl: Kubectl) -> None:
    kubectl.until(lambda: all(one["conditions"]["ready"] for one in kubectl.endpoints("shop")), "both are ready")
    addresses = {one["status"]["podIP"] for one in kubectl.pods("blue") + kubectl.pods("green")}
    assert {one["addresses"][0] for one in kubectl.endpoints("shop")} <= addresses


def test_a_service_deleted_and_made_again_serves(slots: None, kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl.apply(service("again", {"app": "green"}))
    kubectl.until(lambda: fetch(node_url("again"))["version"] == "2", "green answers")
    url = node_url("again")
    kubectl("delete", "service", "again")

    def refused() -> bool:
        try:
            fetch(url)
        except ConnectionRefusedError:
            return True
        return False

    kubectl.until(refused, "nobody listens any more")
    kubectl.apply(service("again", {"app": "green"}))
    kubectl.until(lambda: fetch(node_url("again"))["version"] == "2", "green answers again")
