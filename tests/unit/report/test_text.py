"""How times and other people's texts are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.report.text import cell, moment

NOW = datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-07-01T09:59:00+00:00", datetime(2026, 7, 1, 9, 59, tzinfo=UTC)),
        (NOW.timestamp() - 30, datetime(2026, 7, 1, 9, 59, 30, tzinfo=UTC)),
        (17.5, None),
        (NOW.timestamp() + 10**6, None),
        (float("nan"), None),
        (True, None),
        ("2026-07-01T09:59:00", None),
        ("soon", None),
        (None, None),
        ([], None),
    ],
)
def test_a_time_has_its_zone_or_lies_near_its_record(value: object, expected: datetime | None) -> None:
    assert moment(value, near=NOW) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("- a", "\\- a"),
        ("12. b", "12\\. b"),
        ("3.0.0", "3.0.0"),
        ("-5 ms", "-5 ms"),
        ("===", "\\==="),
        ("a & b &amp; c", "a &amp; b &amp;amp; c"),
        ("", ""),
    ],
)
def test_a_value_opens_no_list_no_rule_and_no_entity(value: str, told: str) -> None:
    assert cell(value) == told
