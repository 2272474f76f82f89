"""A rehearsal as what settles a point: only one that went well, with exactly what is released."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from include.gate.checklist import Rehearsal, points
from include.gate.rehearsal import REHEARSED, Subject
from include.ledger.entry import NewEntry
from include.plan.people import ChecklistItem
from tests.memory import MemoryLedger

DAY = date(2026, 3, 12)
ITEM = ChecklistItem(text="Staging-Tests passing", task="staging-deploy.complete_rehearsal")
DIGEST = "sha256:" + "a" * 64
TRIED = Subject("r/erp:3.0.0", (f"r/erp@{DIGEST}",), "c1", "1.0")
RELEASED = replace(TRIED, contents=(DIGEST,))
PASSED = {"result": "passed", "findings": [{"severity": "minor", "text": "small"}], "subject": TRIED.facts()}


def standing(*told: tuple[str, dict[str, Any]], released: Subject | None = RELEASED) -> tuple[str, str]:
    ledger = MemoryLedger()
    entries = tuple(ledger.append(NewEntry(kind, "3.0.0", "staging", "s", "x", payload)) for kind, payload in told)
    [point] = points([ITEM], (), checklist="go-no-go", planned=DAY, rehearsal=Rehearsal(entries, released))
    return point.standing, point.why


def test_the_newest_rehearsal_settles_until_it_is_taken_back() -> None:
    assert standing() == ("unknown", "no record of staging-deploy.complete_rehearsal")
    assert standing((REHEARSED, PASSED))[0] == "settled"
    found, why = standing((REHEARSED, PASSED), ("rollback.done", {}))
    assert (found, why[:13]) == ("open", "taken back at")
    assert standing(("switch.back", {}), (REHEARSED, PASSED))[0] == "settled"


@pytest.mark.parametrize(
    "failed",
    [
        {**PASSED, "result": "failed", "findings": [{"severity": "blocker", "text": "load test: too slow"}]},
        {**PASSED, "findings": [{"severity": "blocker", "text": "load test: too slow"}]},
    ],
)
def test_one_that_failed_or_found_what_blocks_speaks_against_it(failed: dict[str, Any]) -> None:
    found, why = standing((REHEARSED, PASSED), (REHEARSED, failed))
    assert found == "open"
    assert why.endswith("load test: too slow")


def test_one_that_does_not_say_how_it_went_settles_nothing() -> None:
    assert standing((REHEARSED, {}))[0] == "open"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": "r/erp:3.0.1"}, "open"),
        ({"contents": ("sha256:b",)}, "open"),
        ({"chart": "c2"}, "open"),
        ({"contents": ()}, "unknown"),
        ({"stellwerk": "1.1"}, "settled"),
    ],
)
def test_one_of_something_else_settles_nothing(change: dict[str, Any], expected: str) -> None:
    assert standing((REHEARSED, PASSED), released=replace(RELEASED, **change))[0] == expected


def test_one_that_cannot_be_compared_is_unknown() -> None:
    assert standing((REHEARSED, {**PASSED, "subject": None}))[0] == "unknown"
    assert standing((REHEARSED, PASSED), released=None)[0] == "unknown"


def test_what_happened_in_production_takes_no_rehearsal_back() -> None:
    ledger = MemoryLedger()
    shown = ledger.append(NewEntry(REHEARSED, "3.0.0", "staging", "s", "x", PASSED))
    back = ledger.append(NewEntry("rollback.done", "3.0.0", "production", "r", "x", {}))
    [point] = points([ITEM], (back,), checklist="go-no-go", planned=DAY, rehearsal=Rehearsal((shown,), RELEASED))
    assert point.standing == "settled"
