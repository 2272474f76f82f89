from __future__ import annotations

from dataclasses import fields, replace

import pytest

from include.bluegreen.fence import LAST_SWITCH, LastSwitch
from include.bluegreen.steps import Goal, Progress, next_step
from include.errors import TrafficServiceMissing, UnknownSelector
from tests.unit.bluegreen.model import START, TRAFFIC, service

GOAL = Goal("r1", "green")
DONE_BEFORE = Progress(claimed=True, deployed=True, verified=True)


def switched(direction, *, to, active=None, release="r1"):
    record = LastSwitch(to, "anna", "because", START, release, direction)
    return service(active or to, **{LAST_SWITCH: record.encode()})


CUT_OVER = switched("forward", to="green")


@pytest.mark.parametrize(
    ("observed", "progress", "expected"),
    [
        (service(held_by=None), Progress(), "claim"),
        (service(held_by="r0"), Progress(), "claim"),
        (service(), Progress(claimed=True), "deploy"),
        (service(), Progress(claimed=True, deployed=True), "verify"),
        (service(), DONE_BEFORE, "cutover"),
        (CUT_OVER, DONE_BEFORE, "drain"),
        (CUT_OVER, replace(DONE_BEFORE, drained=True), "watch"),
        (CUT_OVER, replace(DONE_BEFORE, drained=True, watch_passed=True), "cleanup"),
        (CUT_OVER, replace(DONE_BEFORE, drained=True, watch_passed=True, cleaned_up=True), "verification"),
        (CUT_OVER, Progress(*[True] * len(fields(Progress))), "done"),
    ],
)
def test_the_steps_in_their_order(observed, progress, expected):
    step = next_step(observed, TRAFFIC, GOAL, progress)
    assert step.name == expected
    assert step.reason


def test_a_lost_record_does_not_lead_to_a_second_cutover():
    assert next_step(CUT_OVER, TRAFFIC, GOAL, Progress()).name == "drain"


@pytest.mark.parametrize("progress", [Progress(), DONE_BEFORE, replace(DONE_BEFORE, drained=True)])
def test_a_release_that_was_switched_back_never_goes_forward_again(progress):
    back = switched("back", to="blue")
    step = next_step(back, TRAFFIC, GOAL, progress)
    assert (step.name, step.reason) == ("rolled-back", "traffic is on blue again, moved by anna: because")
    by_hand = switched("forward", to="green", active="blue")
    assert next_step(by_hand, TRAFFIC, GOAL, progress).reason.endswith("moved by hand")


def test_a_release_that_lost_the_service_is_over():
    assert next_step(service(held_by="r2"), TRAFFIC, GOAL, DONE_BEFORE).name == "fenced"


def test_a_service_that_names_no_slot_is_an_error():
    with pytest.raises(TrafficServiceMissing):
        next_step(None, TRAFFIC, GOAL, Progress())
    with pytest.raises(UnknownSelector):
        next_step(replace(service(), selector={"a": "b"}), TRAFFIC, GOAL, Progress())
