"""kubectl does what people do with it during a release."""

from __future__ import annotations

import json
import subprocess
import time

from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    NEXT_IMAGE,
    Kubectl,
    container,
    container_status,
    deployment,
    fetch,
    http_probe,
    pod,
    service,
)


def test_apply_rollout_scale_restart(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("rolling"))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/rolling", "--timeout=60s")
    kubectl("scale", "deployment/rolling", "--replicas=3")
    kubectl.until(lambda: len(kubectl.ready_pods("rolling")) == 3, "three pods are ready")
    before = {one["metadata"]["uid"] for one in kubectl.pods("rolling")}
    kubectl("rollout", "restart", "deployment/rolling")
    kubectl("rollout", "status", "deployment/rolling", "--timeout=60s")
    kubectl.until(lambda: len(kubectl.pods("rolling")) == 3, "the old pods are gone")
    assert before.isdisjoint(one["metadata"]["uid"] for one in kubectl.pods("rolling"))
    kubectl("set", "image", "deployment/rolling", f"app={NEXT_IMAGE}")
    kubectl("rollout", "status", "deployment/rolling", "--timeout=60s")
    kubectl("rollout", "undo", "deployment/rolling")
    kubectl("rollout", "status", "deployment/rolling", "--timeout=60s")
    kubectl("scale", "deployment/rolling", "--replicas=0")
    kubectl.until(lambda: not kubectl.pods("rolling"), "no pod is left")


def test_logs(kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl.apply(
        pod("talking", container(readinessProbe=http_probe("/readyz"))), service("talking", {"app": "talking"})
    )
    kubectl("wait", "--for=condition=Ready", "pod/talking", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("talking")), "it answers")
    assert kubectl("logs", "talking").splitlines() == ["serving version 1"]
    for number in range(5):
        time.sleep(1.2 if number == 4 else 0)  # kubectl cuts --since-time to whole seconds
        fetch(node_url("talking", f"/log?text=line-{number}"))
    assert kubectl("logs", "talking", "--tail=2").splitlines() == ["line-3", "line-4"]
    stamped = kubectl("logs", "talking", "--timestamps", "--tail=1").strip()
    stamp, text = stamped.split(" ", 1)
    assert text == "line-4"
    assert stamp[10] == "T"
    assert kubectl("logs", "talking", f"--since-time={stamp}").splitlines() == ["line-4"]
    assert len(kubectl("logs", "talking", "--since=1h").splitlines()) == 6
    assert "line-0" in kubectl("logs", "-l", "app=talking", "-c", "app")


def test_following_a_log_shows_lines_as_they_come_and_ends_with_the_pod(
    kubectl: Kubectl, node_url: NodeUrl
) -> None:
    kubectl.apply(
        pod("followed", container(readinessProbe=http_probe("/readyz"))), service("followed", {"app": "followed"})
    )
    kubectl("wait", "--for=condition=Ready", "pod/followed", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url("followed")), "it answers")
    with subprocess.Popen(kubectl.argv("logs", "-f", "followed"), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "serving version 1\n"
        fetch(node_url("followed", "/log?text=tick"))
        assert following.stdout.readline() == "tick\n"
        kubectl("delete", "pod", "followed", "--wait=false")
        assert following.stdout.read() == "draining\ndone\n"
        assert following.wait(30) == 0


def test_logs_of_the_previous_container(kubectl: Kubectl) -> None:
    failing = container(command=["/app/run", "say", "last words", "3"])
    kubectl.apply(pod("lately", failing))
    kubectl.until(lambda: container_status(kubectl.pods("lately")[0]).get("restartCount", 0) >= 1, "it restarted")
    # While one attempt replaces the other a kubelet may not find the previous one's file for a moment.
    kubectl.until(lambda: kubectl("logs", "lately", "--previous").strip() == "last words", "the log is there")
    state = container_status(kubectl.pods("lately")[0])["lastState"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (3, "Error")
    kubectl("delete", "pod", "lately", "--wait=false")


def test_a_json_patch_with_test_is_a_compare_and_swap(kubectl: Kubectl) -> None:
    kubectl.apply(service("swapped", {"app": "swapped", "version": "blue"}))

    def swap(seen: str, wanted: str, *, ok: bool = True) -> str:
        patch = [
            {"op": "test", "path": "/spec/selector", "value": {"app": "swapped", "version": seen}},
            {"op": "replace", "path": "/spec/selector", "value": {"app": "swapped", "version": wanted}},
        ]
        return kubectl("patch", "service", "swapped", "--type", "json", "-p", json.dumps(patch), ok=ok)

    swap("blue", "green")
    assert "the server rejected our request" in swap("blue", "green", ok=False)
    assert kubectl.get("service", "swapped")["spec"]["selector"] == {"app": "swapped", "version": "green"}


def test_a_selector_without_endpoints_refuses_connections(kubectl: Kubectl, node_url: NodeUrl) -> None:
    kubectl.apply(service("nobody", {"app": "nobody"}))
    try:
        fetch(node_url("nobody"))
    except ConnectionRefusedError:
        return
    raise AssertionError("somebody answered")
