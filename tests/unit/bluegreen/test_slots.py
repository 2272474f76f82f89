from __future__ import annotations

from dataclasses import replace

import pytest

from include.bluegreen.slots import active_slot, other
from include.errors import TrafficServiceMissing, UnknownSelector
from tests.unit.bluegreen.model import TRAFFIC, service


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_the_whole_selector_names_the_active_slot(slot):
    assert active_slot(service(slot), TRAFFIC) == slot
    assert other(other(slot)) == slot != other(slot)


def test_a_missing_service_is_an_error_that_says_what_to_create():
    with pytest.raises(
        TrafficServiceMissing, match=r"valeo-erp not found.*version=blue.*outside of any Helm release"
    ):
        active_slot(None, TRAFFIC)


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"app.kubernetes.io/name": "valeo-erp"},
        {"version": "green"},
        {"app.kubernetes.io/name": "valeo-erp", "version": "purple"},
        {"app.kubernetes.io/name": "valeo-erp", "version": "green", "app.kubernetes.io/instance": "x"},
    ],
)
def test_any_other_selector_names_neither_slot(selector):
    with pytest.raises(UnknownSelector, match="names neither slot"):
        active_slot(replace(service(), selector=selector), TRAFFIC)
