"""The YAML files that ship say what docs/deployment-plan.md says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.plan.loader import load_plan, plan_folder
from include.plan.validation import faults

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "deployment-plan.md").read_text()
PLAN = load_plan(plan_folder())
RELEASE, PRODUCTION, STAGING = PLAN.release("3.0.0"), PLAN.environment("production"), PLAN.environment("staging")


def section(heading: str) -> str:
    """What stands below a heading, until the next one of any level."""
    found = re.search(rf"^#+ [^\n]*{re.escape(heading)}[^\n]*\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def points(heading: str) -> list[str]:
    return re.findall(r"^- (?:\[ \] |✅ )(.+?)(?: \(31/31\))?$", section(heading), re.MULTILINE)


def stem(text: str) -> str:
    """The beginning of a point; what is to be done in the plan is done in a checklist."""
    return re.sub(r"[^\w]", "", text.lower())[:9]


def test_nothing_is_wrong_with_it():
    assert faults(PLAN, datetime.now(UTC)) == ()


def test_the_days_of_the_phases():
    days = re.findall(r"^### (T[-+]\d) ", TEXT, re.MULTILINE)
    assert days == ["T-7", "T-3", "T-1", "T-0"]
    assert [planned.at.split()[0] for planned in RELEASE.timeline.phases] == [*days, "T+0"]
    assert {tuple(planned.after) for planned in RELEASE.timeline.phases[1:]} == {
        (name,) for name in ("release-preparation", "staging-deploy", "final-check", "release-day")
    }


def test_the_hours_of_the_day():
    headings = dict(re.findall(r"^#### (\d\d:\d\d) - (.+)$", TEXT, re.MULTILINE))
    steps = dict(re.findall(r"^\*\*Step \d: (.+?) \((?:\d\d:\d\d - )?(\d\d:\d\d)\)\*\*$", TEXT, re.MULTILINE))
    hours = RELEASE.day.hours
    assert list(headings) == [
        RELEASE.timeline.phase("release-day").at.split()[1],
        hours["database_migration"],
        hours["staging_deploy"],
        hours["smoke_tests"],
        hours["go_no_go"],
        hours["production_deploy"],
        hours["verification"],
        hours["sign_off"],
    ]
    assert (steps["Cutover Traffic"], steps["Cleanup Blue"]) == (hours["cutover"], hours["clean_up"])
    assert steps["Monitor"] == hours["clean_up"]
    assert (RELEASE.at("clean_up") - RELEASE.at("cutover")).total_seconds() == PRODUCTION.watch.seconds


def test_the_messages_of_the_day():
    told = re.findall(r'^- (\d\d:\d\d): "(.+)"$', section("During-Deployment"), re.MULTILINE)
    assert [message.at for message in RELEASE.communication.status] == [at for at, _ in told]
    assert len(told) == 6
    channel = re.search(r"\*\*Slack (#[\w-]+):", section("During-Deployment"))
    assert channel
    assert {message.channel for message in RELEASE.communication.status} == {channel[1]}


@pytest.mark.parametrize(("heading", "event"), [("Pre-Deployment", "announcement"), ("(T+1 Tag)", "completion")])
def test_the_mails(heading, event):
    to = re.findall(r"^- (.+)$", section(heading).partition("**Inhalt:**")[0], re.MULTILINE)
    (mail,) = (mail for mail in RELEASE.communication.mails if mail.event == event)
    assert list(mail.to) == [name.lower().replace(" ", "-") for name in to]
    assert mail.at.startswith("T-3 " if event == "announcement" else "T+1 ")
    assert set(mail.to) <= set(PRODUCTION.messages.audiences)


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("T-7 Tage", "preparation"),
        ("08:00 - Vorbereitung", "standby"),
        ("11:00 - Go/No-Go", "go-no-go"),
        ("14:00 - Post-Deployment", "verification"),
        ("Business-Success", "business-success"),
        ("Compliance-Success", "compliance-success"),
        ("Erste Stunde", "first-hour"),
        ("Erste 24 Stunden", "first-24-hours"),
        ("Erste Woche", "first-week"),
        ("Sofort", "at-once"),
        ("In 1 Tag", "after-one-day"),
        ("In 1 Woche", "after-one-week"),
    ],
)
def test_the_checklists(heading, name):
    listed = [item.text for item in PRODUCTION.checklists[name]]
    assert [stem(text) for text in listed] == [stem(text) for text in points(heading)]


def test_the_final_check_ends_with_the_meeting_which_is_the_gate():
    assert [stem(text) for text in points("T-1 Tag")] == [
        *(stem(item.text) for item in PRODUCTION.checklists["final-check"]),
        stem("Go/No-Go-Meeting"),
    ]


def test_the_people():
    users = re.search(r"Test-User: ([\w, -]+)\)", TEXT)
    assert users
    assert STAGING.people["key-user"] == PRODUCTION.people["key-user"] == tuple(users[1].split(", "))
    signing = re.findall(r"^- \[ \] ([\w -]+): _+$", TEXT, re.MULTILINE)
    assert list(PRODUCTION.sign_off) == [name.lower().replace(" ", "-") for name in signing]
    assert set(PRODUCTION.gate.roles) == {"technical-lead", "business-owner", "on-call-lead"}


def test_the_addresses_of_staging():
    told = dict(re.findall(r"^  - ([\w ]+): (http\S+)$", TEXT, re.MULTILINE))
    assert told == {
        "Frontend": STAGING.urls["frontend"].url,
        "Backend API": STAGING.traffic.public_url,
        "Keycloak": STAGING.urls["keycloak"].url,
    }


def test_the_triggers_and_the_versions():
    triggers = PRODUCTION.slo.triggers
    assert f"Error-Rate > {triggers.error_rate.limit * 100:g}%" in TEXT
    assert f"P95-Latency > {triggers.p95_seconds.limit * 1000:g}ms" in TEXT
    assert f"Service Down > {triggers.down_seconds / 60:g} Minuten" in TEXT
    assert f"--set image.tag={RELEASE.image.tag}" in TEXT
    assert f"--set image.tag={RELEASE.previous}" in TEXT
    assert f"Erwartete Downtime ({RELEASE.downtime_minutes} Minuten)" in TEXT
    deadlines = PRODUCTION.messages.deadlines
    assert f"Within {deadlines.mail_seconds / 60:g}min" in TEXT
    assert f"Within {deadlines.post_mortem_seconds / 3600:g}h" in TEXT
