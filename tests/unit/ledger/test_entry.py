from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from include.errors import InvalidEntry
from include.ledger.chain import GENESIS
from include.ledger.entry import Head, NewEntry, canonical, stamp


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": [True, None, "ü"]}) == canonical({"a": [True, None, "ü"], "b": 1})
    assert canonical({"b": 1, "a": "ü"}) == '{"a":"\\u00fc","b":1}'


@pytest.mark.parametrize(
    "payload", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}, {"x": {1, 2}}, {1: 2}]
)
def test_what_is_not_json_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(InvalidEntry):
        NewEntry("kind", "3.0.0", "production", "run", "anna", payload)


@pytest.mark.parametrize("broken", ["", "  ", "a\x00b", "\ud800"])
@pytest.mark.parametrize("name", ["kind", "release", "environment", "run_id", "actor", "key"])
def test_fields_are_printable_text(name: str, broken: str) -> None:
    fields = {"kind": "k", "release": "r", "environment": "e", "run_id": "i", "actor": "a", "key": "y"}
    with pytest.raises(InvalidEntry, match=name):
        NewEntry(**{**fields, name: broken})  # type: ignore[arg-type]


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="time zone"):
        NewEntry("k", "r", "e", "i", "a", at=datetime(2026, 3, 1))


def test_the_same_moment_is_stamped_the_same_in_every_zone() -> None:
    moment = datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(moment) == stamp(moment.astimezone(UTC)) == "2026-03-29T01:30:00.000000Z"


def test_a_head_is_read_back_from_its_short_form() -> None:
    assert Head.parse(Head(42, "1a2b3c4d5e6f" + "0" * 52).short) == Head(42, "1a2b3c4d5e6f")
    assert Head.parse(f"0:{GENESIS}") == Head(0, GENESIS)


@pytest.mark.parametrize(
    "text", ["", "42", "42:", "42:xyz", "x:1a2b3c4d", "42:1a2b", "-1:1a2b3c4d", "4²:1a2b3c4d"]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidEntry, match="head"):
        Head.parse(text)
