"""A rehearsal has passed when every part of it was shown, and not by the state of any task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.steps.database.entries import TRIED_OUT
from include.steps.record import CUT_OVER, RELEASED, record
from include.steps.staging.assessment import Assessment, assess
from include.steps.staging.entries import DEPLOYED_ALREADY, LOAD_MEASURED, SMOKE_FAILED
from tests.unit.steps.staging.rehearsals import a_ledger, a_run
from tests.unit.steps.staging.shown import SHOWN, show


def assessed(*, without: str = "", **changes: dict[str, Any]) -> Assessment:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=without, **changes)
    return assess(ledger.entries())


def test_everything_was_shown() -> None:
    found = assessed()
    assert (found.result, found.lacking, found.findings) == ("passed", (), ())
    assert list(found.evidence) == [
        *("backup", "migration rehearsal", "migration", "deployment", "traffic", "addresses"),
        *("smoke tests", "load test", "acceptance"),
    ]
    assert found.evidence["backup"] == {"backup": "b1", "level": "restore", "purpose": "safety"}


@pytest.mark.parametrize("kind", SHOWN)
def test_what_is_missing_is_no_pass(kind: str) -> None:
    found = assessed(without=kind)
    assert found.result == "failed"
    [why] = found.lacking
    assert found.findings == ({"severity": "blocker", "text": why},)


@given(st.sets(st.sampled_from(sorted(SHOWN))))
def test_a_pass_needs_all_of_it(kinds: set[str]) -> None:
    run, ledger = a_run(), a_ledger()
    for kind in kinds:
        record(ledger, run, kind, SHOWN[kind])
    assert (assess(ledger.entries()).result == "passed") == (kinds == set(SHOWN))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"staging_urls_verified": {"ok": False, "failed": ["keycloak: down"]}}, "addresses: keycloak: down"),
        ({"staging_load_measured": {"result": "UNKNOWN", "reasons": ["few"]}}, "load test: UNKNOWN: few"),
        ({"uat_concluded": {"result": "unknown", "reasons": ["silent"]}}, "acceptance: unknown: silent"),
    ],
)
def test_what_was_shown_and_is_bad_is_no_pass(change: dict[str, Any], why: str) -> None:
    assert assessed(**change).lacking == (why,)


def test_the_newest_look_counts() -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, staging_load_measured={"result": "FAILED", "reasons": ["slow"]})
    record(ledger, run, LOAD_MEASURED, SHOWN[LOAD_MEASURED], number=2)
    assert assess(ledger.entries()).result == "passed"


def test_a_smoke_suite_that_failed_later_is_no_pass() -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run)
    record(ledger, run, SMOKE_FAILED, {"slot": "green", "problem": "alive: status 500"})
    assert assess(ledger.entries()).lacking == ("smoke tests: alive: status 500",)
    record(ledger, run, RELEASED, SHOWN[RELEASED], number="again")
    assert assess(ledger.entries()).result == "passed"


def test_what_an_earlier_run_has_deployed_counts() -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=CUT_OVER)
    record(ledger, run, DEPLOYED_ALREADY, {"slot": "green", "by": "earlier", "fingerprint": "f"})
    found = assess(ledger.entries())
    assert (found.result, found.evidence["deployment"]) == ("passed", {"slot": "green", "by": "earlier"})


def test_findings_are_told_in_the_users_words_and_once() -> None:
    bad = {
        "result": "failed",
        "reasons": ["blocker: weg (anna)"],
        "findings": [{"severity": "blocker", "text": "weg (anna)"}, {"severity": "minor", "text": "klein (bo)"}],
    }
    found = assessed(uat_concluded=bad)
    assert [one["text"] for one in found.findings] == ["weg (anna)", "klein (bo)"]


def test_where_nothing_was_pending_no_old_version_has_to_be_proven() -> None:
    run, ledger = a_run(), a_ledger()
    show(ledger, run, without=TRIED_OUT)
    told = {name: value for name, value in SHOWN[TRIED_OUT].items() if name != "up"}
    record(ledger, run, TRIED_OUT, {**told, "old_version": {"proven": False}})
    found = assess(ledger.entries())
    assert (found.result, found.findings) == ("passed", ())
    assert found.evidence["migration rehearsal"]["old version works on the new schema"] is None


def test_an_old_version_that_is_not_proven_is_a_finding_and_stops_nothing() -> None:
    found = assessed(rehearsal_done={"old_version": {"proven": False}})
    assert found.result == "passed"
    assert found.findings == (
        {"severity": "major", "text": "it is not proven that the old version works on the new schema"},
    )
