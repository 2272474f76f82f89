from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from include.bluegreen.decisions import Permitted, Refused
from include.bluegreen.fence import LAST_SWITCH, LastSwitch
from include.bluegreen.guards import may_clean_up, may_deploy, may_drain, target_slot
from include.errors import ReleaseFenced
from tests.unit.bluegreen.model import START, TRAFFIC, service


def after(direction="forward", *, to="green", release="r1", active=None):
    switch = LastSwitch(to, "t", "r", START, release, direction)
    return service(active or to, **{LAST_SWITCH: switch.encode()})


LATER = START + timedelta(seconds=10)


def test_a_release_goes_to_the_idle_slot_and_stays_with_it():
    assert target_slot(service("blue"), "blue", "r1") == "green"
    assert target_slot(service("green"), "green", "r1") == "blue"
    assert target_slot(after(), "green", "r1") == "green"
    assert target_slot(after("back", to="blue"), "blue", "r1") == "green"
    assert target_slot(after(release="r0"), "green", "r1") == "blue"


def test_deploys_only_into_the_idle_slot():
    assert may_deploy(service("blue"), TRAFFIC, "green", release_id="r1") == Permitted()
    refused = may_deploy(service("green"), TRAFFIC, "green", release_id="r1")
    assert isinstance(refused, Refused)
    assert "active slot" in refused.reason


@pytest.mark.parametrize(("observed", "idle"), [(after(), "blue"), (after("back", to="blue"), "green")])
def test_never_deploys_again_after_its_cutover(observed, idle):
    refused = may_deploy(observed, TRAFFIC, idle, release_id="r1")
    assert isinstance(refused, Refused)
    assert isinstance(refused.error(), ReleaseFenced)


def test_drains_the_slot_that_was_left_once_new_connections_stopped():
    early = may_drain(after(), TRAFFIC, "blue", release_id="r1", now=START + timedelta(seconds=1))
    assert isinstance(early, Refused)
    assert may_drain(after(), TRAFFIC, "blue", release_id="r1", now=LATER) == Permitted()
    assert isinstance(may_drain(after(), TRAFFIC, "green", release_id="r1", now=LATER), Refused)


def test_drains_the_bad_slot_after_switching_back():
    assert may_drain(after("back", to="blue"), TRAFFIC, "green", release_id="r1", now=LATER) == Permitted()


def clean_up(observed, slot="blue", *, passed=True, release="r1"):
    return may_clean_up(observed, TRAFFIC, slot, release_id=release, watch_passed=passed)


def test_cleans_up_only_after_the_watch_has_passed():
    assert clean_up(after()) == Permitted()
    refused = clean_up(after(), passed=False)
    assert isinstance(refused, Refused)
    assert "way back" in refused.reason


@pytest.mark.parametrize(
    ("observed", "slot"),
    [
        (after(), "green"),  # the active one
        (after("back", to="blue"), "green"),  # the release was rolled back
        (after(active="blue"), "green"),  # moved back by hand
        (after(release="r0"), "blue"),  # somebody else's cutover
        (service("green"), "blue"),  # nobody's cutover
        (replace(after(), selector={"a": "b"}), "blue"),
    ],
)
def test_never_cleans_up_what_users_may_need(observed, slot):
    assert isinstance(clean_up(observed, slot), Refused)


@pytest.mark.parametrize("observed", [None, service("green", held_by="r2")])
def test_touches_nothing_without_holding_the_service(observed):
    assert isinstance(may_deploy(observed, TRAFFIC, "blue", release_id="r1"), Refused)
    assert isinstance(may_drain(observed, TRAFFIC, "blue", release_id="r1", now=LATER), Refused)
    assert isinstance(clean_up(observed), Refused)
