"""The node program may end at any moment: pods run on, once each, and nothing is forgotten."""

from __future__ import annotations

import os
import signal
import time

import pytest

from include.sandbox.cluster import SandboxCluster
from tests.contract.conftest import NodeUrl
from tests.contract.support import (
    Kubectl,
    container,
    container_status,
    deployment,
    fetch,
    http_probe,
    load,
    service,
)


def serving(kubectl: Kubectl, name: str) -> dict[str, tuple[str, int]]:
    """Pod name → its uid and restart count."""
    return {
        one["metadata"]["name"]: (one["metadata"]["uid"], container_status(one)["restartCount"])
        for one in kubectl.pods(name)
    }


def process_ids(kubectl: Kubectl, url: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for _ in range(20):
        answer = fetch(url)
        found.setdefault(answer["pod"], answer["pid"])
    return found


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_pods_survive_a_restart_of_the_node_program(
    sandbox: SandboxCluster, kubectl: Kubectl, node_url: NodeUrl, kill: bool
) -> None:
    name = "kept-killed" if kill else "kept-stopped"
    kubectl.apply(deployment(name, container(readinessProbe=http_probe("/readyz"))), service(name, {"app": name}))
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    kubectl.until(lambda: len(process_ids(kubectl, node_url(name))) == 2, "both answer")
    before, pids = serving(kubectl, name), process_ids(kubectl, node_url(name))
    sandbox.restart_node(kill=kill)
    kubectl.until(lambda: len(process_ids(kubectl, node_url(name))) == 2, "both answer again")
    assert serving(kubectl, name) == before, "the same pods, not restarted"
    assert process_ids(kubectl, node_url(name)) == pids, "the same processes, none doubled"
    assert len(kubectl.ready_pods(name)) == 2
    kubectl("delete", "deployment", name)
    kubectl.until(lambda: not kubectl.pods(name), "the adopted pods can be deleted")
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_happened_meanwhile_is_noticed(sandbox: SandboxCluster, kubectl: Kubectl, node_url: NodeUrl) -> None:
    name = "meanwhile"
    kubectl.apply(deployment(name, container(readinessProbe=http_probe("/readyz"))), service(name, {"app": name}))
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    kubectl.until(lambda: len(process_ids(kubectl, node_url(name))) == 2, "both answer")
    pids = process_ids(kubectl, node_url(name))
    crashed, deleted = sorted(pids)
    sandbox.node.stop()
    try:
        os.kill(pids[crashed], signal.SIGKILL)
        kubectl("delete", "pod", deleted, "--wait=false")
    finally:
        sandbox.node.start()
    kubectl.until(lambda: deleted not in serving(kubectl, name), "the deleted pod is gone")
    kubectl.until(lambda: len(kubectl.ready_pods(name)) == 2, "two pods are ready")
    (again,) = [one for one in kubectl.pods(name) if one["metadata"]["name"] == crashed]
    assert container_status(again)["restartCount"] == 1
    assert container_status(again)["lastState"]["terminated"]["exitCode"] == 137
    with pytest.raises(ProcessLookupError):
        os.kill(pids[deleted], 0)
    kubectl("delete", "deployment", name)


def test_logs_continue_after_a_restart(sandbox: SandboxCluster, kubectl: Kubectl, node_url: NodeUrl) -> None:
    name = "writing"
    one = container(readinessProbe=http_probe("/readyz"))
    kubectl.apply(deployment(name, one, replicas=1), service(name, {"app": name}))
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    kubectl.until(lambda: fetch(node_url(name, "/log?text=before")) == {}, "it answers")
    sandbox.restart_node()
    kubectl.until(lambda: fetch(node_url(name, "/log?text=after")) == {}, "it answers again")
    lines = kubectl("logs", f"deployment/{name}").splitlines()
    assert lines[0] == "serving version 1"
    assert {"before", "after"} <= set(lines)
    kubectl("delete", "deployment", name)


def test_a_rollout_started_while_the_node_was_away_completes(
    sandbox: SandboxCluster, kubectl: Kubectl, node_url: NodeUrl
) -> None:
    name = "resumed"
    draining = container(env={"DRAIN_SECONDS": "2"}, readinessProbe=http_probe("/readyz"))
    kubectl.apply(deployment(name, draining), service(name, {"app": name}))
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    sandbox.node.stop()
    try:
        kubectl("rollout", "restart", f"deployment/{name}")
        time.sleep(1)
    finally:
        sandbox.node.start()
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    kubectl.until(lambda: len(kubectl.pods(name)) == 2, "exactly two pods are left")
    kubectl.until(lambda: fetch(node_url(name)), "it answers")
    with load(node_url(name), workers=2) as result:
        kubectl.until(lambda: result.sent > 20, "requests are sent")
    assert result.lost == []
    assert len(result.pods) == 2
