"""The mails to everybody: what they say, to whom, and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.errors import PlanError
from include.ledger.entry import Head
from include.messages.announcement import Announced, announcement, completion
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.messages.rehearsal import Evidence, Finding, RehearsalOutcome
from include.plan.communication import Communication, KnownIssue, Link, MailPlan
from include.plan.models import Release
from include.plan.people import Contact

T = datetime(2026, 7, 1, 10, 0, 5, tzinfo=UTC)
OCCASION = Occasion(
    application="valeo-erp",
    version="3.0.0",
    previous="2.9.0",
    environment="production",
    run_id="manual__1",
    timezone="Europe/Berlin",
    status_channel="#valeo-erp-status",
    alerts_channel="#valeo-erp-alerts",
    sender="release@valeo.example",
    stakeholders=("boss@valeo.example",),
    head=Head(42, "1a2b3c4d5e6f" + "0" * 52),
    support=(Contact(name="Helpdesk", phone="+49 30 1", mail="help@valeo.example"),),
)
AUDIENCES = {
    "all-users": ("anna@valeo.example", "boss@valeo.example"),
    "stakeholders": ("boss@valeo.example",),
    "support-team": ("help@valeo.example",),
}
RELEASE = Release.model_validate(
    {
        "version": "3.0.0",
        "previous": "2.9.0",
        "title": "VALEO-NeuroERP 3.0",
        "date": "2026-07-15",
        "timezone": "Europe/Berlin",
        "image": {"repository": "erp", "tag": "3.0.0"},
        "downtime_minutes": 5,
        "features": ["Faster orders", "New reports"],
        "known_issues": [
            {"title": "Export is slow", "workaround": "Export at night", "url": "https://issues.valeo.example/1"}
        ],
        "documentation": [{"title": "Manual", "url": "https://docs.valeo.example/3.0"}],
        "communication": {
            "language": "en",
            "mails": [
                {"event": "announcement", "at": "T-3 17:00", "to": ["all-users", "stakeholders", "support-team"]},
                {"event": "completion", "at": "T+1 09:00", "to": ["all-users", "stakeholders"]},
            ],
        },
    }
)
PASSED = RehearsalOutcome(
    "passed", (Finding("minor", "a label is cut"),), (Evidence("Report", "https://reports.valeo.example/r1"),)
)


def announced(
    release: Release = RELEASE,
    rehearsal: RehearsalOutcome | None = None,
    occasion: Occasion = OCCASION,
    told: Announced | None = None,
) -> Message:
    message = announcement(replace(occasion, language="en"), release, AUDIENCES, rehearsal, told=told)
    assert message is not None
    return message


def test_the_announcement_says_what_the_plan_lists() -> None:
    mail = announced()
    assert mail.subject == "[valeo-erp] VALEO-NeuroERP 3.0 arrives on Wednesday, 2026-07-15"
    for told in (
        "- Date: Wednesday, 2026-07-15",
        "- Work begins: 08:00 (Europe/Berlin)",
        "- Switch to 3.0.0: 12:00",
        "- Work ends: 15:00",
        "- Expected downtime: 5 minutes\n",
        "- Faster orders\n- New reports\n",
        "- Export is slow: https://issues.valeo.example/1. Until it is fixed: Export at night\n",
        "- Manual: https://docs.valeo.example/3.0\n",
        "- Helpdesk, +49 30 1, help@valeo.example\n",
    ):
        assert told in mail.text
    assert mail.text.endswith("\nLedger 42:1a2b3c4d5e6f\n")
    assert "The release is still being rehearsed" in mail.text
    assert '<a href="https://issues.valeo.example/1">Export is slow</a>' in mail.html


def test_the_completion_says_what_the_plan_lists() -> None:
    mail = completion(replace(OCCASION, language="en"), RELEASE, AUDIENCES, T)
    assert mail is not None
    assert mail.subject == "[valeo-erp] VALEO-NeuroERP 3.0 is in service"
    for told in (
        "was successful",
        "since 2026-07-01, 12:00:05 (Europe/Berlin)",
        "- Faster orders",
        "- Export is slow",
        "- Manual: https://docs.valeo.example/3.0",
        "- Helpdesk, +49 30 1, help@valeo.example",
    ):
        assert told in mail.text


def test_no_downtime_is_said_and_lists_may_be_empty() -> None:
    plain = RELEASE.model_copy(
        update={"downtime_minutes": 0, "features": (), "known_issues": (), "documentation": (), "title": ""}
    )
    mail = announced(plain, occasion=replace(OCCASION, support=()))
    assert "0 minutes. You can go on working" in mail.text
    assert "no new features" in mail.text
    assert "None is known." in mail.text
    assert "Documentation" not in mail.text
    assert "Help and questions" not in mail.text
    assert mail.subject.startswith("[valeo-erp] valeo-erp 3.0.0 arrives")
    assert "downtime: 1 minute\n" in announced(RELEASE.model_copy(update={"downtime_minutes": 1})).text


def test_the_rehearsal_is_told_where_it_is_known() -> None:
    told = announced(rehearsal=PASSED)
    assert "was rehearsed in the test environment and passed" in told.text
    assert "- Findings: 1 minor\n- Report: https://reports.valeo.example/r1\n" in told.text
    assert "did not pass" in announced(rehearsal=replace(PASSED, result="failed")).text
    assert "still being rehearsed" in announced().text


def test_who_found_what_and_links_that_nobody_else_can_open_are_not_for_everybody() -> None:
    found = (Finding("minor", "a label (rita)"), Finding("major", "slow (tom)"), Finding("minor", "typo (rita)"))
    urls = (
        "http://localhost:8001",
        "http://127.0.0.1/x",
        "s3://b/e.zip",
        "file:///e.zip",
        "http://[::1",
        "https:///x",
    )
    links = tuple(Evidence("evidence", url) for url in (*urls, "https://staging.valeo.example"))
    outcome = RehearsalOutcome("passed", found, links, fingerprint="1a2b3c")
    mail = announced(rehearsal=outcome)
    assert "- Findings: 2 minor, 1 major\n- Fingerprint of the evidence: 1a2b3c\n" in mail.text
    assert "- evidence: https://staging.valeo.example\n" in mail.text
    assert not any(text in mail.text for text in ("rita", "tom", *urls))
    german = announcement(replace(OCCASION, language="de"), RELEASE, AUDIENCES, outcome)
    assert german is not None
    assert "- Befunde: 2 leicht, 1 schwer\n" in german.text
    assert "- Nachweise: https://staging.valeo.example\n" in german.text


def test_it_goes_out_once_for_what_it_tells_whoever_sends_it() -> None:
    first = announced()
    told = Announced.read(OCCASION, first.key)
    assert told == Announced(RELEASE.date, "open", 1)
    assert announced(occasion=replace(OCCASION, run_id="other", head=None)).key == first.key
    assert announced(told=told).key == first.key
    assert announced(told=told).message_id == first.message_id
    assert "has changed" not in announced(told=told).text
    assert Announced.read(OCCASION, "3.0.0@production:message:completion") is None
    assert Announced.read(OCCASION, "3.0.1@production:message:announcement:2026-07-15:open:1") is None


def test_another_result_or_date_is_another_announcement_also_where_it_was_told_before() -> None:
    moved = RELEASE.model_copy(update={"date": RELEASE.date.replace(day=22)})
    failed = replace(PASSED, result="failed")
    told: Announced | None = None
    keys = []
    for release, rehearsal in (
        (RELEASE, None),
        (RELEASE, PASSED),
        (RELEASE, failed),
        (RELEASE, PASSED),
        (moved, PASSED),
    ):
        mail = announced(release, rehearsal, told=told)
        assert ("What is known of the rehearsal has changed" in mail.text) == bool(told and release is RELEASE)
        assert ("The date has changed" in mail.text) == (release is moved)
        keys.append(mail.key)
        told = Announced.read(OCCASION, mail.key)
    assert len(set(keys)) == 5
    assert told == Announced(moved.date, "passed", 5)


def test_everybody_gets_it_once_and_reads_nobody_elses_address() -> None:
    mail = announced()
    assert mail.recipients == ("anna@valeo.example", "boss@valeo.example", "help@valeo.example")
    assert mail.shown_to == ("all-users:;", "boss@valeo.example", "help@valeo.example")
    assert not mail.urgent


def test_an_audience_nobody_knows_is_named() -> None:
    with pytest.raises(PlanError, match="there is no audience support-team"):
        announcement(OCCASION, RELEASE, {"all-users": ("a@b",), "stakeholders": ("a@b",)}, None)


@pytest.mark.parametrize("mails", [(), (MailPlan(event="announcement", at="T-3 17:00", to=("all-users",)),)])
def test_what_the_plan_does_not_send_is_not_sent(mails: tuple[MailPlan, ...]) -> None:
    release = RELEASE.model_copy(update={"communication": Communication(mails=mails)})
    assert completion(OCCASION, release, AUDIENCES, T) is None
    assert (announcement(OCCASION, release, AUDIENCES, None) is None) == (mails == ())


def test_a_long_list_is_cut_and_says_so() -> None:
    long = RELEASE.model_copy(
        update={
            "features": tuple(f"feature {number}" for number in range(100)),
            "known_issues": tuple(KnownIssue(title=f"issue {number}") for number in range(100)),
            "documentation": tuple(Link(title=f"page {number}", url="https://x.example") for number in range(100)),
        }
    )
    many = RehearsalOutcome("failed", tuple(Finding("minor", f"finding {number}") for number in range(100)))
    text = announced(long, many).text
    assert text.count("- and 70 more\n") == 2
    assert "- Findings: 100 minor\n" in text
    assert "feature 29\n" in text
    assert "feature 30\n" not in text


@pytest.mark.parametrize("name", ["Ünits & <b>", 'a"b', "x:;,y@z"])
def test_an_audiences_name_cannot_write_addresses(name: str) -> None:
    mail_plan = MailPlan(event="announcement", at="T-3 17:00", to=(name,))
    release = RELEASE.model_copy(update={"communication": Communication(mails=(mail_plan,))})
    mail = announcement(OCCASION, release, {name: ("a@b", "c@d")}, None)
    assert mail is not None
    (shown,) = mail.shown_to
    assert shown.endswith(":;")
    assert not set(shown[:-2]) & set('<>"@:;,')
