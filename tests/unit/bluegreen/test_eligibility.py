from __future__ import annotations

from dataclasses import replace

import pytest

from include.bluegreen.eligibility import WayBack, automatic_allowed, rollback_options

OPEN = WayBack(schema="unchanged", ready=3, required=3)


def by_name(way):
    return {option.name: option for option in rollback_options(way)}


@pytest.mark.parametrize("schema", ["unchanged", "rehearsed"])
def test_blue_cutover_while_the_old_version_is_proven_on_the_live_schema(schema):
    way = replace(OPEN, schema=schema)
    options = by_name(way)
    assert options["blue-cutover"].eligible
    assert options["auto"].eligible
    assert automatic_allowed(way)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": "unproven"}, "not proven"),
        ({"ready": 0}, "no ready endpoint"),
        ({"cleaned_up": True}, "cleaned up"),
    ],
)
def test_no_way_back_says_why(changes, why):
    way = replace(OPEN, **changes)
    options = by_name(way)
    assert not options["blue-cutover"].eligible
    assert why in options["blue-cutover"].reason
    assert not options["auto"].eligible
    assert not automatic_allowed(way)


def test_fewer_pods_than_required_are_a_way_back_all_the_same():
    option = by_name(replace(OPEN, ready=1))["blue-cutover"]
    assert option.eligible
    assert "fewer than the 3 required" in option.reason


@pytest.mark.parametrize("name", ["helm-rollback", "full-restore"])
def test_options_to_come_are_not_offered(name):
    option = by_name(OPEN)[name]
    assert (option.eligible, option.reason) == (False, "not offered yet")
