from __future__ import annotations

from dataclasses import replace

import pytest

from include.bluegreen.diagnosis import HEAL_SECONDS, STEADY_SECONDS, Course, diagnose
from include.bluegreen.state import DeploymentState, PodState
from include.errors import ImageMissing, SlotNotReady

READY = DeploymentState("erp-green", 3, ready=3, updated=3, generation=2, observed_generation=2)
ROLLING = replace(READY, ready=1)


def pod(name="p1", **changes):
    return replace(PodState(name, f"uid-{name}", {}, "Running", ready=True, image="erp:3.0.0"), **changes)


def waiting(reason, **changes):
    return pod(phase="Pending", ready=False, waiting_reason=reason, **changes)


def test_ready_when_the_deployment_is_rolled_out():
    verdict = diagnose([pod()], READY)
    assert (verdict.state, verdict.sentence) == ("ready", "3 of 3 pods of erp-green are ready")


@pytest.mark.parametrize(
    "deployment",
    [
        replace(READY, ready=2),
        replace(READY, updated=2),
        replace(READY, outdated=1),
        replace(READY, observed_generation=1),
        replace(READY, replicas=0, ready=0, updated=0),
        None,
    ],
)
def test_otherwise_progressing(deployment):
    assert diagnose([pod()], deployment).state == "progressing"


def test_the_pod_of_an_earlier_template_that_is_waited_for_is_named():
    assert "1 of an earlier template have not gone yet" in diagnose([pod()], replace(READY, outdated=1)).sentence


def test_a_ready_pod_of_the_former_template_does_not_stand_in_for_a_new_one():
    assert diagnose([pod("old"), pod("new", ready=False)], READY).state == "progressing"


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_a_missing_image_ends_the_wait_at_once_and_is_named(reason):
    verdict = diagnose([waiting(reason, waiting_message="not found")], ROLLING)
    assert verdict.state == "failed"
    assert "image erp:3.0.0 of pod p1 cannot be had" in verdict.sentence
    assert isinstance(verdict.error(), ImageMissing)


def test_a_missing_config_map_ends_the_wait():
    verdict = diagnose([waiting("CreateContainerConfigError", waiting_message="configmap x not found")], ROLLING)
    assert verdict.state == "failed"
    assert "configmap x not found" in verdict.sentence


def test_a_config_map_the_node_cannot_read_yet_ends_the_wait_only_when_it_lasts():
    hidden = diagnose([waiting("CreateContainerConfigError")], ROLLING)
    course = Course()
    assert course.judged(hidden, 100.0).state == "progressing"
    assert course.judged(hidden, 100.0 + HEAL_SECONDS - 0.1).state == "progressing"
    assert course.judged(hidden, 100.0 + HEAL_SECONDS) == hidden
    assert course.judged(diagnose([pod(ready=False)], ROLLING), 120.0).state == "progressing"
    assert course.judged(hidden, 121.0).state == "progressing", "it had healed in between"


def test_pods_that_are_ready_for_an_instant_only_are_not_ready():
    course = Course()
    assert course.judged(diagnose([pod()], READY), 10.0).state == "progressing"
    crashed = waiting("CrashLoopBackOff", restarts=0)
    assert course.judged(diagnose([crashed], ROLLING), 10.5).state == "progressing"
    for restarts, now in ((1, 11.0), (2, 12.0)):
        started_again = diagnose([pod(restarts=restarts)], READY)
        assert course.judged(started_again, now).state == "progressing", "not the container seen before"
    assert course.judged(started_again, 12.0 + STEADY_SECONDS) == started_again


def test_what_never_heals_ends_the_wait_at_once():
    verdict = diagnose([waiting("ErrImagePull")], ROLLING)
    assert Course().judged(verdict, 0.0) == verdict


@pytest.mark.parametrize(
    ("restarts", "state"), [(0, "progressing"), (1, "progressing"), (2, "failed"), (9, "failed")]
)
def test_a_crash_loop_ends_the_wait_after_some_restarts(restarts, state):
    looping = waiting("CrashLoopBackOff", restarts=restarts, terminated_reason="Error")
    verdict = diagnose([looping], ROLLING)
    assert verdict.state == state
    if state == "failed":
        assert verdict.sentence == f"pod p1 crashes again and again: {restarts} restarts, last end: Error"
        assert type(verdict.error()) is SlotNotReady


def test_a_pod_that_came_through_after_restarts_is_no_crash_loop():
    assert diagnose([pod(ready=False, restarts=5, terminated_reason="Error")], ROLLING).state == "progressing"


def test_troubles_of_the_previous_attempt_do_not_count():
    leftover = waiting("ImagePullBackOff")
    assert diagnose([leftover], ROLLING, ignore={leftover.uid}).state == "progressing"
    assert diagnose([replace(leftover, deleting=True)], ROLLING).state == "progressing"


def test_time_runs_out():
    slow = pod(ready=False)
    assert diagnose([slow], ROLLING, waited_seconds=59, limit_seconds=60).state == "progressing"
    verdict = diagnose([slow], ROLLING, waited_seconds=60, limit_seconds=60)
    assert verdict.state == "failed"
    assert verdict.sentence == "not ready after 60 s: 1 of 3 pods of erp-green are ready; the others: Running"


def test_time_is_the_callers_without_a_limit():
    assert diagnose([], None, waited_seconds=1e9).sentence == "the Deployment does not exist yet"
    assert "scaled to zero" in diagnose([], replace(READY, replicas=0)).sentence


def test_a_pod_made_of_the_former_template_meanwhile_says_nothing_about_the_new_one():
    former = waiting("ErrImagePull", labels={"pod-template-hash": "old"})
    assert diagnose([former], ROLLING, template="new").state == "progressing"
    assert diagnose([former], ROLLING, template="old").state == "failed"
    assert diagnose([waiting("ErrImagePull")], ROLLING, template="new").state == "failed", "no label, no excuse"
