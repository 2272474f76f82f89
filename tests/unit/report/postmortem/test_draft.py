"""The draft's model: who did what when, how long it took, what it cost, and what nobody knows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.errors import LedgerError
from include.ledger.entry import Entry
from include.report.postmortem.draft import post_mortem
from include.report.postmortem.model import MarkName, PostMortem
from tests.unit.report.postmortem.records import (
    REASON,
    Story,
    TimedLedger,
    at,
    automatic,
    by_hand,
    ordered,
    points,
    release_run,
)

LATER = at(7200)


def draft(story: Story, **more: str) -> PostMortem:
    return post_mortem(story.entries, now=LATER, timezone="Europe/Berlin", **more)


def seconds(found: PostMortem) -> dict[MarkName, float]:
    return {mark.name: round((mark.at - at(0)).total_seconds(), 3) for mark in found.marks}


def spans(found: PostMortem) -> dict[str, timedelta]:
    return {span.name: span.length for span in found.spans}


def topics(found: PostMortem) -> set[str]:
    return {question.about for question in found.questions}


ALWAYS = {"Ursache", "Vorher nicht gesehen", "Betroffene"}


def test_a_rollback_by_the_watch_itself() -> None:
    found = draft(automatic())
    assert (found.how, found.reason) == ("automatic", REASON)
    assert seconds(found) == {
        "cutover": 0.0,
        "fault": 5.0,
        "detected": 8.2,
        "decided": 8.2,
        "switched": 8.3,
        "drained": 20.0,
        "verified": 24.0,
        "closed": 24.0,
    }
    assert spans(found)["Erstes Anzeichen bis Erkennung"] == timedelta(seconds=3.2)
    assert spans(found)["Erkennung bis Rückschaltung"] == timedelta(seconds=0.1)
    assert spans(found)["Umschaltung bis Rückschaltung"] == timedelta(seconds=8.3)
    assert (found.numbers.requests, found.numbers.errors) == (360, 48)
    assert (found.numbers.forward.sent, found.numbers.forward.lost) == (75, 0)
    assert found.rollback_runs == (f"after__{found.run_id}",)
    assert topics(found) == ALWAYS | {"Verluste bei der Rückschaltung"}


def test_what_is_only_known_to_be_over_by_then_says_so() -> None:
    found = draft(automatic())
    drained, verified = found.mark("drained"), found.mark("verified")
    assert drained is not None
    assert verified is not None
    assert not drained.exact
    assert not verified.exact
    assert not next(span for span in found.spans if span.name.endswith("Nachweis")).exact


def test_messages_are_held_against_their_deadlines() -> None:
    story = automatic()
    told = {notice.name: notice for notice in draft(story).notices}
    alert, mail, invitation = told.values()
    assert alert.delay == timedelta(seconds=5.7)
    assert mail.delay == timedelta(seconds=16.7)
    assert mail.limit == timedelta(minutes=15)
    assert invitation.limit == timedelta(hours=1)
    assert {notice.state for notice in told.values()} == {"in-time"}


def test_a_late_a_missing_and_a_refused_message_are_asked_about() -> None:
    story = by_hand()
    story.told(100, "rollback-alert", fails=True).told(200, "rollback-alert").told(
        95 + 901, "rollback-mail", "mail"
    )
    missed = {
        "duty": "mail",
        "due": story.iso(995),
        "delivered": story.iso(996),
        "why": "the mail server was down",
    }
    story.note(996, "deadline.missed", missed)
    found = draft(story)
    alert, mail, invitation = found.notices
    assert (alert.state, alert.failed, alert.delay) == ("late", 1, timedelta(seconds=105))
    assert (mail.state, mail.delay) == ("late", timedelta(seconds=901))
    assert (invitation.state, invitation.delay) == ("missed", None)
    assert "the mail server was down" in found.missed[0]
    assert sum(question.about == "Versäumte Frist" for question in found.questions) == 3


def test_what_is_not_due_yet_is_open_and_no_question() -> None:
    found = post_mortem(by_hand().entries, now=at(120), timezone="UTC")
    assert [notice.state for notice in found.notices] == ["open", "open", "open"]
    assert "Versäumte Frist" not in topics(found)


def test_the_environments_own_deadlines_count() -> None:
    story = Story().until_cutover()
    messages = {"messages": {"deadlines": {"mail_seconds": 10}}}
    story.note(3, "watch.baseline", {"config": {"environment": messages}})
    story.switched_by_watch(8.3).told(20, "rollback-mail", "mail")
    _, mail, _ = draft(story).notices
    assert (mail.limit, mail.state) == (timedelta(seconds=10), "late")


def test_a_rollback_by_hand_begins_with_its_run() -> None:
    found = draft(by_hand())
    assert found.how == "by-hand"
    assert found.outcome.startswith("Von rita ")
    decided = found.mark("decided")
    assert decided is not None
    assert (decided.actor, decided.at) == ("rita", at(90))
    assert found.mark("detected") is None
    assert spans(found)["Entscheidung bis Rückschaltung"] == timedelta(seconds=5)
    assert spans(found)["Rückschaltung bis zum Nachweis"] == timedelta(seconds=15)
    assert (found.numbers.back.lost, found.numbers.back.before) == (3, 1)
    texts = {question.about: question.text for question in found.questions}
    assert "2 von 75" in texts["Verluste bei der Rückschaltung"]
    assert "Welche Regel fehlt" in texts["Erkennung"]


def test_an_order_given_to_the_watch() -> None:
    found = draft(ordered())
    assert found.how == "order"
    assert "otto" in found.outcome
    assert seconds(found) == {"cutover": 0.0, "fault": 30.0, "decided": 60.0, "switched": 62.0}
    fault, decided, switched = found.mark("fault"), found.mark("decided"), found.mark("switched")
    assert fault is not None
    assert decided is not None
    assert switched is not None
    assert (fault.actor, decided.actor, switched.actor) == ("kira", "otto", "otto")
    assert "the CEO cannot log in" in decided.how
    assert {"Abschluss", "Nachweis", "Offene Verbindungen", "Messwerte", "Erkennung"} <= topics(found)


def test_an_order_that_was_refused_or_late_is_none() -> None:
    story = automatic()
    story.answered(
        4, "watch.answer-refused", "Roll back now", "mallory", refused="mallory may not steer this watch"
    )
    story.answered(60, "watch.answered-late", "Roll back now", "otto", late="the watch was ending")
    found = draft(story)
    decided = found.mark("decided")
    assert decided is not None
    assert (found.how, decided.actor) == ("automatic", "stellwerk")
    shown = {event.what: event for event in found.timeline}
    assert "may not steer" in shown["Antwort war nicht ausführbar"].detail
    assert shown["Antwort kam zu spät"].actor == "otto"


def test_a_confirmed_critical_report_is_the_decision() -> None:
    story = Story().until_cutover().watching().reported(20, "critical-data-loss", "kira", "orders vanish")
    story.answered(50, "feedback.decided", "Roll back now", "bert", "confirmed by two")
    back = story.rollback_run("after__feedback", by="bert")
    found = draft(story.switch_recorded(58, back, by="rollback (bert)"))
    fault, decided = found.mark("fault"), found.mark("decided")
    assert fault is not None
    assert decided is not None
    assert (fault.at, decided.at, decided.actor) == (at(20), at(50), "bert")


def test_a_dismissed_report_decides_nothing() -> None:
    story = Story().until_cutover().watching().reported(20, "critical-security", "kira", "open door")
    story.answered(50, "feedback.decided", "No rollback", "bert", "a test account")
    found = draft(story.switched_by_watch(70))
    assert found.mark("decided") is None
    assert "Entscheidung" in topics(found)


def test_a_selector_changed_by_hand() -> None:
    story = Story().until_cutover().watching()
    story.ended(40, "ROLLED_BACK_BY_HAND", "the selector of valeo-erp was changed by hand; traffic is on blue")
    found = draft(story)
    switched = found.mark("switched")
    assert switched is not None
    assert (found.how, switched.exact, switched.actor) == ("outside", False, "nicht festgehalten")
    assert "changed by hand" in found.reason


def test_a_rollback_that_found_the_selector_changed_by_hand() -> None:
    story = Story().until_cutover().watching()
    back = story.rollback_run("manual__x", by="rita")
    found = draft(story.switch_recorded(40, back, by="by hand"))
    switched = found.mark("switched")
    assert switched is not None
    assert (found.how, switched.actor) == ("outside", "nicht festgehalten")


def test_what_a_switch_was_told_of_is_in_the_timeline() -> None:
    story = Story().until_cutover().watching()
    few = {"by": "watch", "reason": REASON, "at": story.epoch(8), "noticed": ["blue takes it with 1 endpoint"]}
    told = [event.detail for event in draft(story.note(9, "switch.back", few)).timeline]
    assert "bemerkt: blue takes it with 1 endpoint" in told


def test_a_rollback_that_was_due_and_blocked() -> None:
    story = Story().until_cutover().watching()
    story.ended(9, "ROLLBACK_BLOCKED", f"{REASON}; blue has no ready endpoint", detected_at=story.epoch(8))
    trouble = {"step": "eligibility", "what": "no option is possible", "seen": "no pods", "remedy": "act"}
    found = draft(story.note(20, "rollback.blocked", trouble, run=story.rollback_run()))
    assert found.how == "blocked"
    assert found.mark("switched") is None
    assert found.notices == ()
    assert "Rückschaltung nicht möglich" in topics(found)
    assert "no option is possible" in found.reason
    assert found.rollback_runs == ()


def test_a_watch_that_never_ended_leaves_its_last_checkpoint() -> None:
    story = Story().until_cutover().watching()
    story.note(5, "watch.checkpoint", {"number": 0, "account": {"points": points(story, until=4)}}, number=1)
    story.note(8, "watch.checkpoint", {"number": 0, "account": {"points": points(story, until=7)}}, number=2)
    story.switch_recorded(30, story.rollback_run("manual__x", by="rita"), by="rollback (rita)")
    found = draft(story)
    assert (found.numbers.requests, found.numbers.errors) == (280, 24)
    assert (found.series.gaps[-1].start, found.series.gaps[-1].end) == (at(7).timestamp(), at(30).timestamp())
    assert "mindestens" in found.numbers.counted
    assert "Fehlende Messwerte" in topics(found)


def test_old_entries_without_points_tell_their_counters() -> None:
    story = automatic(series=False)
    assert draft(story).numbers.requests is None
    assert "nicht festgehalten" in draft(story).numbers.counted
    measured = Story().until_cutover().watching()
    measured.ended(9, "ROLLED_BACK", measures={"requests": 500, "errors": 40}, detected_at=measured.epoch(8))
    numbers = draft(measured).numbers
    assert (numbers.requests, numbers.errors, numbers.highest_error_rate) == (500, 40, None)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("release.started", {"from": "blue", "to": "green"}),
        ("switch.back", {"by": "watch", "reason": REASON, "at": at(8).isoformat()}),
        ("rollback.done", {"reason": REASON}),
        ("watch.ended", {}),
        ("watch.ended", {"result": "ROLLED_BACK", "at": "never", "detected_at": [], "points": "none"}),
        ("message.sent", {}),
        ("feedback.given", {"verdict": 7}),
        ("watch.baseline", {"config": "?"}),
    ],
)
def test_a_single_entry_makes_a_draft_that_knows_little_and_says_so(kind: str, payload: dict[str, object]) -> None:
    found = draft(Story().note(8, kind, payload))
    assert topics(found) >= ALWAYS
    assert len(found.questions) > len(ALWAYS)
    assert found.numbers.requests is None


def test_two_rollbacks_of_one_release_are_told_apart() -> None:
    ledger = TimedLedger()
    first = automatic(release_run("manual__first"), ledger=ledger)
    automatic(release_run("manual__second"), ledger=ledger, later=86400)
    last = draft(first)
    assert (last.run_id, last.other_runs) == ("manual__second", ("manual__first",))
    assert spans(last)["Umschaltung bis Rückschaltung"] == timedelta(seconds=8.3)
    for run in ("manual__first", "after__manual__first"):
        earlier = draft(first, run_id=run)
        assert (earlier.run_id, earlier.other_runs) == ("manual__first", ("manual__second",))
        assert seconds(earlier)["switched"] == 8.3
        assert all(event.at < at(86000) for event in earlier.timeline)


def test_a_rollback_told_by_two_runs_is_one() -> None:
    story = automatic()
    again = story.rollback_run("manual__again", by="rita")
    found = draft(story.switch_recorded(8.3, again, by="watch").closed(200, again, switched=8.3, by="watch"))
    assert found.rollback_runs == (f"after__{found.run_id}", "manual__again")
    assert sum(event.what == "Verkehr zurückgeschaltet" for event in found.timeline) == 1
    assert seconds(found)["closed"] == 24.0


def test_a_refused_rollback_took_nothing_back() -> None:
    story = automatic()
    refused = story.rollback_run("manual__refused", by="rita")
    found = draft(story.note(300, "rollback.refused", {"what": "nothing to roll back"}, run=refused))
    assert "manual__refused" not in found.rollback_runs
    assert any(event.what == "Rollback abgelehnt" for event in found.timeline)


def test_the_timeline_begins_with_the_cutover_and_is_in_order() -> None:
    found = draft(automatic())
    assert [event.at for event in found.timeline] == sorted(event.at for event in found.timeline)
    assert found.timeline[0].what == "Verkehr umgeschaltet"
    assert [event.what for event in found.before][1:3] == ["Freigabe: Go", "Freigabe: Go"]
    order = ["Erstes Anzeichen des Fehlers", "Fehler erkannt", "Verkehr zurückgeschaltet", "Beobachtung beendet"]
    assert [event.what for event in found.timeline if event.what in order] == order


def test_clocks_that_contradict_each_other_are_a_question_and_no_negative_duration() -> None:
    story = Story().until_cutover().watching()
    story.ended(8, "ROLLED_BACK", detected_at=story.epoch(8), switched_at=story.epoch(5))
    found = draft(story.switched_by_watch(5))
    assert "Erkennung bis Rückschaltung" not in spans(found)
    assert all(span.length >= timedelta() for span in found.spans)
    assert "Widerspruch" in topics(found)


def test_slow_detection_and_a_slow_switch_are_asked_about() -> None:
    story = Story().until_cutover().watching()
    recorded = points(story, bad_from=5, until=60)
    story.ended(60, "ROLLED_BACK", detected_at=story.epoch(50), switched_at=story.epoch(60), points=recorded)
    texts = {question.about: question.text for question in draft(story.switched_by_watch(60)).questions}
    assert "12,0 s" in texts["Dauer der Erkennung"]
    assert "10,0 s" in texts["Dauer der Rückschaltung"]


def test_connections_that_stayed_are_asked_about() -> None:
    story = automatic()
    found = draft(story.drained(60, story.rollback_run("manual__again"), "LINGERING"))
    assert "LINGERING" in {q.about: q.text for q in found.questions}["Offene Verbindungen"]


def test_the_drain_of_the_old_slot_after_the_cutover_is_not_that_of_the_bad_one() -> None:
    story = Story().until_cutover().watching()
    story.note(6, "drain.done", {"slot": "blue", "policy": "restart", "verdict": "DRAINED", "sentence": "blue"})
    assert draft(story.switched_by_watch(5)).mark("drained") is None


def test_reports_about_reports_change_nothing() -> None:
    story = automatic()
    before = draft(story)
    story.note(50, "postmortem.drafted", {"files": []}).note(51, "report.written", {"files": []})
    assert draft(story) == before


def test_nothing_and_several_releases_are_refused() -> None:
    with pytest.raises(LedgerError, match="none"):
        post_mortem([], now=LATER, timezone="UTC")
    other: list[Entry] = automatic(release_run()).entries
    with pytest.raises(LedgerError, match="no run manual__unknown"):
        post_mortem(other, now=LATER, timezone="UTC", run_id="manual__unknown")
