"""Key users are asked with a deadline, and what they say stays until they say more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.errors import NotAccepted, PlanError
from include.steps.staging.acceptance import (
    asked,
    conclude,
    key_users,
    must_be_key_user,
    question,
    record_silence,
    record_tested,
    reports_of,
)
from include.steps.staging.entries import UAT_ASKED, UAT_CONCLUDED, UAT_SILENT
from include.steps.staging.uat import Finding, UatReport
from tests.unit.steps.staging.rehearsals import USERS, a_ledger, a_run, acceptance

NOW = datetime(2026, 1, 12, 9, tzinfo=UTC)
WORKS = {"articles": "passed", "order": "passed"}


def test_the_key_users_are_the_plans() -> None:
    assert key_users(a_run()) == USERS
    must_be_key_user(a_run(), "test-user")
    with pytest.raises(NotAccepted, match="'mallory' is no key user"):
        must_be_key_user(a_run(), "mallory")
    with pytest.raises(PlanError, match="nobody has role auditor"):
        key_users(a_run(uat=acceptance(role="auditor")))
    with pytest.raises(PlanError, match="nobody tests staging"):
        key_users(a_run(uat=None))


def test_a_task_that_is_killed_gives_no_more_time_and_one_asked_again_gets_all_of_it() -> None:
    run, ledger = a_run(uat=acceptance(timeout_seconds=600)), a_ledger()
    first = asked(run, ledger, "test-user", NOW)
    assert first == NOW + timedelta(minutes=10)
    assert asked(run, ledger, "test-user", NOW + timedelta(minutes=3)) == first
    assert asked(run, ledger, "test-admin", NOW + timedelta(minutes=3)) == NOW + timedelta(minutes=13)
    record_silence(run, ledger, "test-user", first)
    assert asked(run, ledger, "test-user", NOW + timedelta(hours=1)) == NOW + timedelta(hours=1, minutes=10)
    assert len(ledger.entries(kinds=(UAT_ASKED,))) == 3


def test_a_silence_is_recorded_once_for_each_deadline() -> None:
    run, ledger = a_run(), a_ledger()
    for _ in range(2):
        record_silence(run, ledger, "test-user", NOW)
    [entry] = ledger.entries(kinds=(UAT_SILENT,))
    assert (entry.actor, entry.payload["user"]) == ("nobody", "test-user")


def test_the_newest_test_of_each_user_counts_and_a_later_silence_takes_none_away() -> None:
    run, ledger = a_run(), a_ledger()
    bad = UatReport(
        "test-user", {"articles": "passed", "order": "blocker"}, (Finding("blocker", "x", "test-user"),)
    )
    record_tested(run, ledger, bad, NOW)
    record_tested(run, ledger, UatReport("test-user", WORKS), NOW + timedelta(minutes=1))
    record_silence(run, ledger, "test-user", NOW + timedelta(hours=1))
    assert reports_of(run, ledger) == {"test-user": UatReport("test-user", WORKS)}


def test_what_blocks_is_recorded_before_it_stops() -> None:
    run, ledger = a_run(), a_ledger()
    for user in USERS:
        record_tested(run, ledger, UatReport(user, WORKS), NOW)
    bad = UatReport("test-user", WORKS, (Finding("blocker", "Login weg", "test-user"),))
    record_tested(run, ledger, bad, NOW + timedelta(minutes=1))
    with pytest.raises(NotAccepted, match=r"do not accept 3\.0\.0.*Login weg.*clear the form") as refused:
        conclude(run, ledger)
    assert not refused.value.retryable
    record_tested(run, ledger, UatReport("test-user", WORKS), NOW + timedelta(minutes=2))
    assert conclude(run, ledger)["result"] == "passed"
    told = [entry.payload["result"] for entry in ledger.entries(kinds=(UAT_CONCLUDED,))]
    assert told == ["failed", "passed"]


def test_who_does_not_answer_leaves_it_unknown() -> None:
    run, ledger = a_run(), a_ledger()
    record_tested(run, ledger, UatReport("test-admin", WORKS), NOW)
    with pytest.raises(NotAccepted, match=r"is not known.*test-user has not tested"):
        conclude(run, ledger)
    easy = a_run(uat=acceptance(required="one"))
    assert conclude(easy, ledger)["silent"] == ["test-user", "test-readonly"]


def test_the_form_says_what_to_do_until_when_and_what_was_missing() -> None:
    run = a_run()
    asked_first = question(run, "test-user", NOW)
    assert "does it work, test-user?" in asked_first.subject
    for said in (
        "http://localhost:3001",
        "http://localhost:8180",
        "| Artikel | it works |",
        "2026-01-12 10:00 CET",
    ):
        assert said in asked_first.body
    assert "A form that comes back empty could not be counted" in asked_first.body
