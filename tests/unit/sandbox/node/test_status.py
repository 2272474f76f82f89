"""What the API shows of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from include.sandbox.node.status import ended_reason, moment, parse_moment, phase, pod_status
from include.sandbox.node.views import ContainerView, Ended, PodView, Started, State, Waiting

NOW = 1_800_000_000.0


def ended(code: int = 0) -> Ended:
    return Ended(code, ended_reason(code=code, out_of_memory=False), NOW - 5, NOW, "id")


def one(state: State, *, name: str = "web", ready: bool = False, last: Ended | None = None) -> ContainerView:
    return ContainerView(name, "web:1", state, last=last, ready=ready)


RUNNING = one(Started(NOW), ready=True)
CREATING = one(Waiting("ContainerCreating"))
CRASHED = one(Waiting("CrashLoopBackOff"), last=ended(1))


def view(*containers: ContainerView, **more: Any) -> PodView:
    return PodView(started_at=NOW, ip="10.244.1.2", containers=containers, **more)


@pytest.mark.parametrize(
    ("seen", "policy", "expected"),
    [
        (view(CREATING), "Always", "Pending"),
        (view(CREATING, RUNNING), "Always", "Pending"),
        (view(RUNNING), "Always", "Running"),
        (view(CRASHED), "Always", "Running"),
        (view(one(ended(1))), "Always", "Running"),
        (view(one(ended(1))), "OnFailure", "Running"),
        (view(one(ended(0))), "OnFailure", "Succeeded"),
        (view(one(ended(0))), "Never", "Succeeded"),
        (view(one(ended(1))), "Never", "Failed"),
        (view(one(ended(0)), one(ended(2))), "Never", "Failed"),
        (view(one(ended(0)), RUNNING), "Never", "Running"),
        (view(one(ended(0)), ended=True), "Always", "Succeeded"),
        (view(one(ended(143)), ended=True), "Always", "Failed"),
        (view(CREATING, ended=True), "Always", "Failed"),
        (view(CREATING, failure=("NotSupported", "no")), "Never", "Failed"),
        (view(CREATING, init=(one(Started(NOW)),)), "Always", "Pending"),
        (view(CREATING, init=(one(ended(1)),)), "Never", "Failed"),
        (view(CREATING, init=(one(ended(1)),)), "Always", "Pending"),
        (view(CREATING, init=(one(ended(0)),)), "Always", "Pending"),
        (view(RUNNING, init=(one(ended(0)),)), "Always", "Running"),
    ],
)
def test_the_phase_follows_kubelets_rules(seen: PodView, policy: str, expected: str) -> None:
    assert phase(seen, policy) == expected


def conditions(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in status["conditions"]}


def pod(*shown: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"restartPolicy": "Always", **spec}, "status": {"conditions": list(shown)}}


def test_a_running_ready_pod() -> None:
    status = pod_status(pod(), view(RUNNING), NOW)
    assert status["phase"] == "Running"
    assert status["podIP"] == "10.244.1.2"
    assert status["hostIP"] == "10.244.0.1"
    found = conditions(status)
    assert {kind: one["status"] for kind, one in found.items()} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": moment(NOW)}}


def test_an_unready_container_is_named() -> None:
    found = conditions(pod_status(pod(), view(CREATING, RUNNING), NOW))
    assert found["Ready"]["reason"] == "ContainersNotReady"
    assert found["Ready"]["message"] == "containers with unready status: [web]"


def test_finished_and_failed_pods_are_not_ready() -> None:
    good = conditions(pod_status(pod(restartPolicy="Never"), view(one(ended(0))), NOW))
    bad = conditions(pod_status(pod(restartPolicy="Never"), view(one(ended(1))), NOW))
    assert (good["Ready"]["status"], good["Ready"]["reason"]) == ("False", "PodCompleted")
    assert (bad["Ready"]["status"], bad["Ready"]["reason"]) == ("False", "PodFailed")


def test_a_transition_time_is_kept_until_the_status_changes() -> None:
    before = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    same = conditions(pod_status(pod(before), view(RUNNING), NOW))
    other = conditions(pod_status(pod(before), view(CREATING), NOW))
    assert same["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert other["Ready"]["lastTransitionTime"] == moment(NOW)


def test_what_was_written_counts_before_the_watch_shows_it() -> None:
    written = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    found = conditions(pod_status(pod(), view(RUNNING), NOW, written))
    assert found["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_readiness_gates_of_others_are_respected() -> None:
    gated = view(RUNNING, gates=("example.com/attached",))
    closed = conditions(pod_status(pod(), gated, NOW))
    assert closed["Ready"]["reason"] == "ReadinessGatesNotReady"
    assert closed["ContainersReady"]["status"] == "True"
    opened = conditions(pod_status(pod({"type": "example.com/attached", "status": "True"}), gated, NOW))
    assert opened["Ready"]["status"] == "True"


def test_an_end_is_told_with_its_reason_and_what_came_before() -> None:
    status = pod_status(pod(), view(CRASHED), NOW)["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["lastState"]["terminated"]["reason"] == "Error"


@pytest.mark.parametrize(
    ("code", "memory", "reason"), [(0, False, "Completed"), (2, False, "Error"), (137, True, "OOMKilled")]
)
def test_reasons(code: int, memory: bool, reason: str) -> None:
    assert ended_reason(code=code, out_of_memory=memory) == reason


def test_moments_are_read_back() -> None:
    assert parse_moment(moment(NOW)) == NOW
    assert parse_moment(None) is None


def test_a_pod_has_one_address_even_after_it_got_another() -> None:
    # A strategic merge patch joins podIPs by address; the API server refuses two of one family.
    assert pod_status(pod(), view(RUNNING), NOW)["podIPs"] == [{"$patch": "replace"}, {"ip": "10.244.1.2"}]
