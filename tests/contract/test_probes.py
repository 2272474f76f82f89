"""Readiness, liveness and startup probes decide what they decide on any cluster."""

from __future__ import annotations

from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    Document,
    Kubectl,
    container,
    container_status,
    deployment,
    fetch,
    http_probe,
    is_ready,
    load,
    pod,
    service,
)


def only(kubectl: Kubectl, name: str) -> Document:
    (found,) = kubectl.pods(name)
    return found


def test_a_pod_gets_traffic_only_when_its_readiness_probe_succeeds(kubectl: Kubectl, node_url: NodeUrl) -> None:
    late = container(env={"READY_AFTER": "8"}, readinessProbe=http_probe("/readyz"))
    kubectl.apply(deployment("late", late, replicas=1), service("late", {"app": "late"}))
    kubectl.until(lambda: "started" in container_status(only(kubectl, "late")), "the container runs")
    kubectl.until(lambda: container_status(only(kubectl, "late"))["started"], "the container has started")
    assert not is_ready(only(kubectl, "late"))
    kubectl.until(lambda: len(kubectl.endpoints("late")) == 1, "the controller has written its endpoint")
    (endpoint,) = kubectl.endpoints("late")
    assert not endpoint["conditions"]["ready"]
    kubectl.until(lambda: is_ready(only(kubectl, "late")), "the pod is ready")
    kubectl.until(lambda: fetch(node_url("late")), "it gets traffic")


def test_a_pod_that_turns_unready_loses_traffic_but_keeps_running(kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl.apply(deployment("flapping"), service("flapping", {"app": "flapping"}))
    kubectl("rollout", "status", "deployment/flapping", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("flapping")), "it answers")
    fetch(node_url("flapping", "/set?ready=false"))
    kubectl.until(lambda: len(kubectl.ready_pods("flapping")) == 1, "one of two pods is ready")
    (ready,) = kubectl.ready_pods("flapping")
    kubectl.until(
        lambda: sum(one["conditions"]["ready"] for one in kubectl.endpoints("flapping")) == 1,
        "one endpoint is ready",
    )
    kubectl.until(
        lambda: {fetch(node_url("flapping"))["pod"] for _ in range(10)} == {ready["metadata"]["name"]},
        "only the ready pod answers",
    )
    with load(node_url("flapping"), workers=2) as result:
        kubectl.until(lambda: result.sent > 20, "some requests were sent")
    assert set(result.pods) == {ready["metadata"]["name"]}
    assert result.lost == []
    assert [container_status(one)["restartCount"] for one in kubectl.pods("flapping")] == [0, 0]
    (unready,) = [one for one in kubectl.pods("flapping") if not is_ready(one)]
    assert any(
        "Readiness probe failed" in event["message"] for event in kubectl.events(unready["metadata"]["name"])
    )


def test_a_failed_liveness_probe_restarts_the_container(kubectl: Kubectl) -> None:
    dying = container(env={"LIVE_FOR": "2"}, livenessProbe=http_probe("/healthz", failureThreshold=2))
    kubectl.apply(deployment("dying", dying, replicas=1))
    kubectl.until(lambda: container_status(only(kubectl, "dying")).get("restartCount", 0) >= 1, "it was restarted")
    found = only(kubectl, "dying")
    terminated = container_status(found)["lastState"]["terminated"]
    assert terminated["exitCode"] == 0, "it ended politely on SIGTERM"
    messages = [event["message"] for event in kubectl.events(found["metadata"]["name"])]
    assert any("Liveness probe failed" in message for message in messages), messages
    assert any("will be restarted" in message for message in messages), messages
    kubectl("delete", "deployment", "dying")


def test_a_startup_probe_holds_the_others_back(kubectl: Kubectl) -> None:
    slow = container(
        env={"READY_AFTER": "4"},
        startupProbe=http_probe("/readyz", failureThreshold=30),
        # Would kill it at once if it were asked before the start is over.
        livenessProbe=http_probe("/readyz"),
        readinessProbe=http_probe("/readyz"),
    )
    kubectl.apply(deployment("slow", slow, replicas=1))
    kubectl.until(lambda: "started" in container_status(only(kubectl, "slow")), "the container runs")
    assert container_status(only(kubectl, "slow"))["started"] is False
    kubectl.until(lambda: is_ready(only(kubectl, "slow")), "the pod is ready")
    status = container_status(only(kubectl, "slow"))
    assert status["started"] is True
    assert status["restartCount"] == 0


def test_an_exhausted_startup_probe_restarts_the_container(kubectl: Kubectl) -> None:
    never = container(env={"READY_AFTER": "1000"}, startupProbe=http_probe("/readyz", failureThreshold=2))
    kubectl.apply(deployment("never", never, replicas=1))
    kubectl.until(lambda: container_status(only(kubectl, "never")).get("restartCount", 0) >= 1, "it was restarted")
    kubectl("delete", "deployment", "never")


def test_a_tcp_probe_asks_only_for_a_connection(kubectl: Kubectl) -> None:
    probe = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
    closed = {"tcpSocket": {"port": 8099}, "periodSeconds": 1}
    kubectl.apply(
        pod("tcp-open", container(readinessProbe=probe)), pod("tcp-closed", container(readinessProbe=closed))
    )
    kubectl("wait", "--for=condition=Ready", "pod/tcp-open", "--timeout=60s")
    kubectl.until(
        lambda: any("Readiness probe failed" in event["message"] for event in kubectl.events("tcp-closed")),
        "the closed port is reported",
    )
    assert not is_ready(only(kubectl, "tcp-closed"))
