"""The mails to everybody say what the ledger knows, and are sent only where it is true."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from include.ledger.store import Ledger
from include.messages.deliver import deliver
from include.messages.model import Message
from include.messages.rehearsal import Evidence, Finding, RehearsalOutcome
from include.plan.communication import MailEvent
from include.plan.loader import load_plan, plan_folder
from include.steps.announce import occasion_of
from include.steps.mails import SETTLED, for_users, planned_at, release_mail
from include.steps.record import RELEASED, ROLLED_BACK, SWITCHED_BACK, record
from include.steps.run import ReleaseRun, open_run
from include.steps.staging.entries import REHEARSAL_COMPLETED
from tests.unit.steps.database.worlds import a_ledger

PLAN = load_plan(plan_folder())
OUTCOME = RehearsalOutcome(
    "passed",
    (Finding("minor", "a label is cut"),),
    (Evidence("Report", "https://reports.valeo.example/r1"),),
    "1a2b3c",
)


def a_run(environment: str, run_id: str = "r1") -> ReleaseRun:
    return open_run(
        PLAN, release="3.0.0", environment=environment, phase="x", run_id=run_id, triggered_by="release-manager"
    )


REHEARSING = a_run("staging")
LIVE = a_run("production", "day")


def at_its_time(run: ReleaseRun, event: MailEvent) -> datetime:
    planned = planned_at(run.release, event)
    assert planned is not None
    return planned


def said(
    ledger: Ledger, event: MailEvent, run: ReleaseRun = REHEARSING, now: datetime | None = None
) -> Message | None:
    """What goes out at the mail's time, or at another one."""
    sent: list[Message] = []
    at = now or at_its_time(run, event)
    run = for_users(run, PLAN)
    message = release_mail(run, occasion_of(run, ledger), event, ledger, at)
    if message is not None:
        deliver(ledger, message, sent.append, at)
    return sent[0] if sent else None


def test_the_rehearsal_ends_with_a_mail_about_production() -> None:
    ledger = a_ledger()
    record(ledger, REHEARSING, REHEARSAL_COMPLETED, RehearsalOutcome("failed").payload, number="first")
    record(ledger, REHEARSING, REHEARSAL_COMPLETED, OUTCOME.payload, number="second")
    mail = said(ledger, "announcement")
    assert mail is not None
    assert (mail.environment, mail.run_id) == ("production", "r1")
    assert mail.recipients == (
        "all-users@valeo.example.com",
        "stakeholders@valeo.example.com",
        "support@valeo.example.com",
    )
    assert "hat bestanden" in mail.text
    assert "- Befunde: 1 leicht\n- Fingerprint der Nachweise: 1a2b3c\n- Report: https://reports" in mail.text
    assert "Support, support@valeo.example.com" in mail.text
    assert said(ledger, "announcement") is None, "it goes out once"
    assert said(ledger, "announcement", a_run("staging", "r2")) is None, "whichever run sends it"


@pytest.mark.parametrize("payload", [None, {}, {"result": 1, "findings": "x"}])
def test_of_a_rehearsal_that_nobody_knows_it_is_said_that_it_has_not_ended(payload: dict[str, Any] | None) -> None:
    ledger = a_ledger()
    if payload is not None:
        record(ledger, REHEARSING, REHEARSAL_COMPLETED, payload)
    mail = said(ledger, "announcement")
    assert mail is not None
    assert "wird in der Testumgebung noch geprobt" in mail.text


@pytest.mark.parametrize("event", ["announcement", "completion"])
def test_no_mail_goes_out_before_its_time(event: MailEvent) -> None:
    ledger = a_ledger()
    if event == "completion":
        record(ledger, LIVE, RELEASED, {})
    assert said(ledger, event, now=at_its_time(REHEARSING, event) - timedelta(seconds=1)) is None
    assert said(ledger, event) is not None


def test_another_result_is_told_when_it_has_stood_for_a_while() -> None:
    ledger, at = a_ledger(), at_its_time(REHEARSING, "announcement")
    assert said(ledger, "announcement") is not None
    failed_at = at + timedelta(hours=5)
    record(ledger, REHEARSING, REHEARSAL_COMPLETED, RehearsalOutcome("failed").payload, at=failed_at)
    assert said(ledger, "announcement", now=failed_at + timedelta(minutes=5)) is None
    mail = said(ledger, "announcement", now=failed_at + SETTLED)
    assert mail is not None
    assert "hat nicht bestanden" in mail.text
    assert "Seit der letzten Ankündigung hat sich geändert" in mail.text
    made_good = failed_at + timedelta(hours=20)
    record(ledger, REHEARSING, REHEARSAL_COMPLETED, OUTCOME.payload, number=2, at=made_good)
    again = said(ledger, "announcement", now=made_good + SETTLED)
    assert again is not None
    assert "hat bestanden" in again.text
    assert said(ledger, "announcement", now=made_good + 2 * SETTLED) is None


def test_a_date_that_has_moved_is_announced_again_and_says_so() -> None:
    ledger = a_ledger()
    first = said(ledger, "announcement")
    release = REHEARSING.release.model_copy(update={"date": REHEARSING.release.date.replace(day=22)})
    at_once = at_its_time(REHEARSING, "announcement") + timedelta(minutes=5)
    second = said(ledger, "announcement", replace(REHEARSING, release=release), at_once)
    assert first is not None
    assert second is not None
    assert "geändert" not in first.text
    assert "Der Termin hat sich geändert: Angekündigt war Donnerstag, 15.01.2099." in second.text


def test_what_is_live_or_past_is_announced_to_nobody() -> None:
    ledger = a_ledger()
    assert said(ledger, "announcement", now=REHEARSING.release.at("sign_off")) is None
    record(ledger, LIVE, RELEASED, {})
    assert said(ledger, "announcement") is None


@pytest.mark.parametrize(
    ("kinds", "live"),
    [
        ((), False),
        ((RELEASED,), True),
        ((RELEASED, SWITCHED_BACK), False),
        ((RELEASED, ROLLED_BACK), False),
        ((SWITCHED_BACK, ROLLED_BACK, RELEASED), True),
    ],
)
def test_success_is_told_only_where_the_ledger_says_so(kinds: tuple[str, ...], live: bool) -> None:
    ledger = a_ledger()
    for kind in kinds:
        record(ledger, LIVE, kind, {})
    mail = said(ledger, "completion", a_run("production", "after"))
    assert (mail is not None) == live
    if mail:
        assert mail.recipients == ("all-users@valeo.example.com", "stakeholders@valeo.example.com")
        assert "war erfolgreich" in mail.text
        assert said(ledger, "completion", a_run("production", "again")) is None


def test_a_rehearsal_of_staging_is_no_release() -> None:
    ledger = a_ledger()
    record(ledger, REHEARSING, RELEASED, {})
    assert said(ledger, "completion") is None
    assert said(ledger, "announcement") is not None
