"""What the report finds in the ledger: outcome, steps beside their plan, deviations, decisions, messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from include.errors import LedgerError
from include.report.release.draft import outcome, release_report
from include.report.release.history import PLANNED
from include.report.release.model import Deviation
from include.steps import planned
from tests.unit.report.postmortem.records import Story, automatic, by_hand
from tests.unit.report.release.stories import DAY, HOUR, Release, as_planned, planned_run


def deviations(story: Story) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in release_report(story.entries).deviations:
        found.setdefault(one.about, []).append(one.sentence)
    return found


def step(story: Story, name: str) -> Any:
    return next(one for one in release_report(story.entries).steps if one.name == name)


def test_the_kind_of_the_plan_is_that_which_steps_write() -> None:
    assert PLANNED == planned.PLANNED


# -- outcome -------------------------------------------------------------------------------------------------


def test_how_it_ended() -> None:
    assert outcome(as_planned().entries) == "Erfolgreich ausgeliefert"
    assert outcome(automatic().entries).startswith("Zurückgerollt: error rate 30.0 %")
    assert outcome(by_hand().entries) == "Zurückgerollt: customers call: orders vanish"
    assert outcome(Story().until_cutover().entries).startswith("Nicht abgeschlossen, letzter Schritt: Verkehr")
    assert outcome([]) == "Nicht abgeschlossen, letzter Schritt: keiner"


def test_the_last_no_go_of_a_role_stops_it_and_a_go_after_it_does_not() -> None:
    story = Story().note(0, "release.started", {})
    story.note(1, "gate.decision", {"role": "on-call", "choice": "No-Go", "phase": "p"}, actor="otto")
    assert outcome(story.entries) == "Nicht freigegeben: No-Go von otto (on-call)"
    story.note(2, "gate.decision", {"role": "on-call", "choice": "Go", "phase": "p"}, actor="otto", number=2)
    assert outcome(story.entries).startswith("Nicht abgeschlossen")


def test_the_last_attempt_decides() -> None:
    story = automatic()
    story.note(9000, "release.started", {}, number=2).note(9100, "release.verified", {}, number=2)
    assert outcome(story.entries) == "Erfolgreich ausgeliefert"


def test_what_happened_in_staging_alone_is_told_of_staging() -> None:
    story = Release()
    story.told_of(0, story.of("staging-deploy", environment="staging"), "release.verified", {"slot": "green"})
    found = release_report(story.entries)
    assert found.outcome == "Erfolgreich ausgeliefert"
    assert "was in staging geschah" in found.short[0]


def test_entries_of_no_or_several_releases_are_refused() -> None:
    with pytest.raises(LedgerError, match="none"):
        release_report([])
    one, other = automatic().entries, Release().entries
    assert release_report([*one, *other]).release == "3.0.0"
    with pytest.raises(LedgerError, match=r"2\.0\.0, 3\.0\.0"):
        release_report([*one, replace(one[0], release="2.0.0")])


def test_what_reports_record_of_themselves_changes_no_report() -> None:
    story = as_planned()
    before = release_report(story.entries)
    story.note(4 * HOUR, "report.written", {"files": []}).note(4 * HOUR, "postmortem.drafted", {"files": []})
    assert release_report(story.entries) == before


# -- the plan beside what happened ---------------------------------------------------------------------------


def test_on_time_late_early_missing_and_not_due_are_told_apart() -> None:
    states = {one.name: one.state for one in release_report(as_planned().entries).steps}
    assert states.pop("go_no_go") == "late"
    assert states.pop("post-release") == "open"
    assert set(states.values()) == {"on-time"}


def test_the_end_of_a_step_has_time_until_the_next_one_is_due() -> None:
    story = Release()
    story.planned(-4 * HOUR).note(-1800 + 299, "deploy.done", {"slot": "green"})
    assert step(story, "production_deploy").state == "on-time"
    story.note(301, "deploy.done", {"slot": "green"}, number=2)
    assert step(story, "production_deploy").state == "late", "the cutover was due five minutes ago"


def test_a_cutover_has_no_time_but_its_own() -> None:
    story = Release()
    story.planned(-4 * HOUR).note(301, "cutover.done", {"from": "blue", "to": "green"})
    assert (step(story, "cutover").state, step(story, "cutover").delay) == ("late", timedelta(seconds=301))
    assert deviations(story)["Später als geplant"] == ["Umschaltung: 5 min 01 s später"]


def test_users_who_were_told_a_time_are_told_of_an_earlier_one() -> None:
    story = Release()
    story.planned(-4 * HOUR).note(-600, "cutover.done", {"from": "blue", "to": "green"})
    story.note(-500, "cleanup.done", {"slot": "blue"})
    assert deviations(story)["Früher als geplant"] == ["Umschaltung: 10 min 00 s früher"]
    assert step(story, "clean_up").state == "early"


def test_a_step_that_others_have_come_after_will_not_come_any_more() -> None:
    story = Release(planned_run(date(2099, 1, 15)))
    story.planned(-10).note(0, "cutover.done", {"from": "blue", "to": "green"})
    states = {one.name: one.state for one in release_report(story.entries).steps}
    assert (states["database_migration"], states["cutover"], states["clean_up"]) == ("missing", "early", "open")
    found = deviations(story)
    assert found["An einem anderen Tag"] == ["Umschaltung am 01.07.2026, geplant war der 15.01.2099"]
    assert "Früher als geplant" not in found, "that is said once"
    assert "Datenbank: Sicherung und Migration" in found["Ohne Eintrag im Ledger"][0]


def test_the_last_test_in_staging_is_that_of_the_day() -> None:
    story = as_planned()
    assert step(story, "staging_deploy").sequence == 31
    assert step(story, "smoke_tests").sequence == 32
    assert step(story, "staging-deploy").sequence == 10, "the rehearsal three days before"


# -- deviations ----------------------------------------------------------------------------------------------


def test_a_release_as_planned_deviates_only_where_it_did() -> None:
    assert set(deviations(as_planned())) == {"Später als geplant", "Nachricht nicht zugestellt"}


def test_a_date_that_was_moved_and_times_that_were_changed() -> None:
    story = Release(planned_run(date(2026, 6, 1)))
    story.planned(-9 * DAY)
    story.run = planned_run(date(2026, 7, 1))
    story.planned(-8 * DAY)
    later = story.run.release.day.model_copy(update={"cutover": "12:15"})
    story.run = replace(story.run, release=story.run.release.model_copy(update={"day": later}))
    story.planned(-7 * DAY).planned(-6 * DAY)
    found = deviations(story)
    assert found["Termin verschoben"] == ["von 01.06.2026 auf 01.07.2026"]
    assert found["Zeiten geändert"] == ["cutover"]
    assert [entry.kind for entry in story.entries].count(PLANNED) == 3, "the same plan is recorded once"


RECORDED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "lease.taken-over",
        {"from": "2.9.1@production/run", "because": "override", "reason": "hotfix"},
        "Umgebung übernommen",
        "production von 2.9.1@production/run, durch rita: hotfix",
    ),
    ("watch.extended", {"user": "otto", "minutes": 30, "why": "slow"}, "Beobachtung verlängert",
     "durch otto, um 30 Minuten: slow"),
    ("watch.accepted", {"user": "otto", "why": "known", "overruled": ["kira: problem"]}, "Release angenommen",
     "durch otto, übergeht kira: problem: known"),
    ("watch.ended", {"result": "HELD", "sentence": "no data"}, "Beobachtung ohne Nachweis", "no data"),
    ("gate.silence", {"role": "on-call", "comment": "late"}, "Keine Antwort bis zur Frist", "on-call: late"),
    ("gate.delegated", {"role": "r", "by": "otto", "to": "olga"}, "Rolle vertreten", "r: olga für otto"),
    ("gate.decision", {"role": "on-call", "choice": "No-Go", "comment": "no"}, "No-Go", "rita als on-call: no"),
    ("phase.started", {"phase": "final-check", "attempt": 2, "reason": "again"}, "Phase wiederholt",
     "final-check durch rita: again"),
    ("rollback.refused", {"what": "nothing to do"}, "Rollback abgelehnt", "production: nothing to do"),
    ("rollback.blocked", {"what": "blue is gone"}, "Rollback nicht möglich", "production: blue is gone"),
    ("restore.done", {"reason": "bad"}, "Datenbank aus der Sicherung wiederhergestellt", "production: bad"),
    ("migration.taken-back", {}, "Migration zurückgenommen", "production: ohne Angabe eines Grundes"),
    ("deadline.missed", {"duty": "mail", "why": "smtp is down"}, "Frist einer Nachricht verpasst",
     "mail: smtp is down"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload", "about", "sentence"), RECORDED, ids=[one[0] for one in RECORDED])
def test_what_an_entry_tells_by_itself(kind: str, payload: dict[str, Any], about: str, sentence: str) -> None:
    story = Story().note(0, kind, payload, actor="rita")
    assert Deviation(about, sentence, 1) in release_report(story.entries).deviations


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("gate.decision", {"role": "r", "choice": "Go"}),
        ("phase.started", {"phase": "p", "attempt": 1, "reason": ""}),
        ("watch.ended", {"result": "PASSED", "sentence": "all held"}),
    ],
)
def test_what_is_as_it_should_be_is_no_deviation(kind: str, payload: dict[str, Any]) -> None:
    assert release_report(Story().note(0, kind, payload).entries).deviations == ()


def test_requests_that_were_lost_come_first_and_unseen_switches_are_said() -> None:
    first, *_ = release_report(by_hand().entries).deviations
    assert (first.about, first.sentence) == (
        "Verlorene Anfragen",
        "Rückschaltung in production: 3 von 75 Anfragen des Prüfers",
    )
    assert "no observation" in deviations(automatic())["Verluste nicht bekannt"][0]
    short = release_report(automatic().entries).short
    assert any(
        "8,3 s nach der Umschaltung ging er in production auf die alte Version zurück" in one for one in short
    )


def test_a_tick_that_is_missing_is_named_once_its_list_was_begun() -> None:
    story = Release()
    run = story.of("final-check")
    assert "Haken fehlt" not in deviations(story.planned(-3 * DAY))
    story.phase(-DAY, run)
    story.ticked(-DAY + 60, run, "final-check", "technical-lead", but="Backup erstellt")
    (missing,) = deviations(story)["Haken fehlt"]
    assert missing.startswith("final-check: PRE-DEPLOYMENT-CHECK.md durchgegangen, Backup erstellt")
    assert "Rollback-Plan" not in missing


def test_the_lists_are_those_of_production_whatever_staging_recorded_last() -> None:
    story = Release()
    run = story.of("final-check")
    story.phase(-DAY, run).planned(-1.8 * HOUR, story.of("staging-deploy", environment="staging"))
    (missing,) = deviations(story)["Haken fehlt"]
    assert missing.startswith("final-check: PRE-DEPLOYMENT-CHECK.md durchgegangen")


def test_a_date_that_moved_is_said_whichever_environment_recorded_it() -> None:
    story = Release(planned_run(date(2026, 6, 1)))
    story.planned(-9 * DAY)
    story.run = planned_run(date(2026, 7, 1))
    story.planned(-8 * DAY, story.of("staging-deploy", environment="staging"))
    assert deviations(story)["Termin verschoben"] == ["von 01.06.2026 auf 01.07.2026"]


def test_points_that_a_record_settles_need_no_tick() -> None:
    story = Release()
    run = story.of("release-day")
    story.phase(-4 * HOUR, run)
    story.ticked(-4 * HOUR + 60, run, "standby", "on-call-lead")
    assert "Haken fehlt" not in deviations(story)


# -- messages ------------------------------------------------------------------------------------------------


def test_messages_that_failed_came_late_or_were_never_tried() -> None:
    story = Release()
    story.planned(-4 * HOUR).until_cutover()
    story.told(1, "cutover", fails=True)
    assert "Verkehr umgeschaltet an Slack: #alerts, 1 Versuche" in deviations(story)["Nachricht nicht zugestellt"]
    story.told(1200, "cutover")
    assert deviations(story)["Nachricht später als geplant"] == [
        "Verkehr umgeschaltet an Slack: #alerts: 20 min 00 s später"
    ]
    told = release_report(story.entries).messages
    assert next(one for one in told if one.name == "cutover").failed == 1
    untold = {one.name for one in told if one.at is None}
    assert "slot-deployment-started" in untold
    assert not {"cleanup", "successful"} & untold, "what has not happened is not told"


def test_the_announcement_is_the_plans_and_what_it_tells_anew_later_is_not_late() -> None:
    story = Release()
    story.planned(-8 * DAY)
    story.told(-2 * DAY - 19 * HOUR, "announcement:2026-07-01:open:1", "mail")
    story.told(-DAY, "announcement:2026-07-01:passed:2", "mail").until_cutover()
    told = {one.name: one for one in release_report(story.entries).messages}
    assert "announcement" not in told, "it was said"
    assert told["announcement:2026-07-01:open:1"].planned
    assert told["announcement:2026-07-01:passed:2"].planned is None
    assert not any("Ankündigung" in text for text in deviations(story).get("Nachricht später als geplant", []))


# -- decisions -----------------------------------------------------------------------------------------------


def test_that_there_was_nothing_to_migrate_is_said_in_the_place_of_the_plans_message() -> None:
    story = Release()
    story.planned(-4 * HOUR).told_of(-2.5 * HOUR, story.run, "migration.intended", {})
    story.told(-HOUR, "migration-needless").until_cutover()
    told = {one.name: one for one in release_report(story.entries).messages}
    assert "migration-completed" not in told
    assert told["migration-needless"].told == "Nichts zu migrieren"
    assert told["migration-needless"].planned


def test_what_stellwerk_did_by_itself_is_nobodys_decision() -> None:
    story = automatic()
    story.note(20, "switch.back", {"by": "rollback (scheduler)"}, run=story.rollback_run("later"))
    assert {one.about for one in release_report(story.entries).decisions} == {"Go/No-Go für das Release"}


def test_who_decided_what() -> None:
    story = by_hand()
    story.answered(30, "watch.extended", "Extend", "otto", "slow", minutes=30)
    story.note(31, "feedback.silence", {"question": "roll back now?", "number": 1}, actor="nobody")
    story.note(32, "database.loss-confirmed", {"by": "tina", "reason": "we must", "digest": "d"}, actor="tina")
    story.note(34, "database.loss-refused", {"by": "bert", "why": "bert said Keep"}, actor="bert", number=1)
    story.note(35, "database.loss-refused", {"by": "", "why": "no answer: timeout"}, number=2)
    story.note(33, "lease.taken-over", {"from": "x", "because": "expired"}, actor="scheduler")
    found = [(one.about, one.who, one.choice, one.why) for one in release_report(story.entries).decisions]
    assert found == [
        ("Go/No-Go für das Release", "tina", "Go", "sieht gut aus"),
        ("Go/No-Go für das Release", "bert", "Go", "sieht gut aus"),
        ("Beobachtung verlängert", "otto", "Extend (30 Minuten)", "slow"),
        ("Keine Antwort auf eine kritische Rückmeldung", "niemand", "keine Antwort", ""),
        ("Verlust von Daten", "tina", "bestätigt", "we must"),
        ("Verlust von Daten", "bert", "nicht bestätigt", "bert said Keep"),
        ("Verlust von Daten", "niemand", "keine Antwort", "no answer: timeout"),
        ("Rollback von Hand", "rita", "zurückgeschaltet", "customers call: orders vanish"),
    ]
