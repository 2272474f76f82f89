from __future__ import annotations

import json

import pytest

from include.bluegreen.fence import LAST_SWITCH, LastSwitch, last_switch, release_id
from tests.unit.bluegreen.model import START, service

SWITCH = LastSwitch("green", "the watch", "error rate 30 % — “rollback”", START, "r1", "back")


def test_a_switch_survives_its_annotation():
    assert last_switch(service(**{LAST_SWITCH: SWITCH.encode()})) == SWITCH


def test_the_annotation_holds_the_documented_keys():
    assert json.loads(SWITCH.encode()).keys() >= {"to", "by", "reason", "at"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        "null",
        '{"to": "green"}',
        SWITCH.encode().replace("green", "red"),
        SWITCH.encode().replace("+00:00", ""),
        SWITCH.encode().replace('"back"', "[]"),
    ],
)
def test_an_annotation_stellwerk_did_not_write_is_no_switch(text):
    assert last_switch(service(**{LAST_SWITCH: text})) is None


def test_the_release_id_is_the_fence():
    assert release_id(service(held_by="r7")) == "r7"
    assert release_id(service(held_by=None)) is None
