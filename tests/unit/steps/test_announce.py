"""What a step tells: each event once, in the release's language and thread; of a migration, what it has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from include.errors import LedgerUnavailable, MessageError
from include.ledger.store import Ledger
from include.messages.model import Message
from include.plan.communication import Communication, StatusMessage
from include.steps.announce import Event, announce
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCHED,
    NEEDLESS,
    SURVEYED,
)
from include.steps.record import (
    APPROVED,
    CLEANED_UP,
    CUT_OVER,
    RELEASED,
    ROLLED_BACK,
    STARTED,
    SWITCHED_BACK,
    WATCH_ENDED,
    WATCH_PASSED,
    record,
)
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
)
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")
LONG_AGO = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


class Told:
    """A run of which messages are sent."""

    def __init__(self, *kinds: str) -> None:
        self.ledger, self.sent = a_ledger(), list[Message]()
        self.happened(*kinds)

    def happened(self, *kinds: str, at: datetime | None = None, **facts: Any) -> None:
        for kind in kinds:
            if kind in (MIGRATION_WATCHED, MIGRATION_WATCH_FAILED):
                facts = {"migrated": self.ledger.entries(kinds=(MIGRATED,))[-1].sequence, **facts}
            record(self.ledger, RUN, kind, {"began": 2, **facts}, at=at)

    def say(self, event: Event, send: Callable[[Message], object] | None = None) -> Message | None:
        """What is sent because of it."""
        before = len(self.sent)
        announce(RUN, event, self.ledger, {"slack": send or self.sent.append})
        return self.sent[-1] if len(self.sent) > before else None


def said(event: Event, *kinds: str) -> Message | None:
    """What is sent when these are in the ledger."""
    return Told(*kinds).say(event)


@pytest.mark.parametrize("event", ["migration-started", "migration-failed", "migration-left"])
def test_of_a_run_that_nobody_decided_about_nobody_was_told_and_is(event: Event) -> None:
    assert said(event) is None


HAPPENED: dict[Event, tuple[str, ...]] = {
    "slot-deployment-started": (APPROVED,),
    "migration-completed": (MIGRATED, MIGRATION_VERIFIED, MIGRATION_WATCHED),
    "cutover": (CUT_OVER,),
    "cleanup": (CLEANED_UP,),
    "successful": (RELEASED,),
    "database-restored": (RESTORED,),
}


@pytest.mark.parametrize("event", HAPPENED)
def test_what_only_states_set_by_hand_say_is_not_told_and_is_when_it_has_happened(event: Event) -> None:
    told = Told()
    in_slots(told.ledger)
    told.happened(*HAPPENED[event][:-1])
    assert told.say(event) is None
    told.happened(HAPPENED[event][-1])
    assert told.say(event) is not None, "its task was cleared"


@pytest.mark.parametrize(
    ("kinds", "failed", "left", "line"),
    [
        ((), "nichts geändert", "nichts geändert", "Database unchanged"),
        ((MIGRATION_INTENDED, LEFT_OLD), "nichts geändert", "nichts geändert", "Database unchanged"),
        ((MIGRATION_INTENDED,), "wird festgestellt", "nicht zu Ende migriert", "Database left as it is"),
        (
            (MIGRATION_INTENDED, MIGRATED),
            "auf dem Stand von 3.0.0",
            "bleibt auf dem Stand von 3.0.0",
            "Database left as it is",
        ),
        (
            (MIGRATION_INTENDED, MIGRATED, WAY_BACK_INTENDED),
            "wird festgestellt",
            "nicht zu Ende migriert",
            "Database left as it is",
        ),
        (
            (MIGRATION_INTENDED, MIGRATED, WAY_BACK_INTENDED, TAKEN_BACK),
            "wieder auf dem Stand von 2.9.0",
            "wieder auf dem Stand von 2.9.0",
            "Database migration taken back",
        ),
    ],
)
def test_a_failure_is_told_at_once_and_what_it_has_left_at_the_end(
    kinds: tuple[str, ...], failed: str, left: str, line: str
) -> None:
    told = Told(APPROVED, *kinds)
    first, last = told.say("migration-failed"), told.say("migration-left")
    assert first is not None
    assert last is not None
    assert first.text.startswith("*Database migration failed*")
    assert failed in first.text
    assert last.text.startswith(f"*{line}*")
    assert left in last.text
    assert first.key != last.key


def test_of_a_run_that_has_not_failed_nobody_is_told_what_it_has_left() -> None:
    well = (MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED, MIGRATION_WATCHED)
    assert said("migration-left", APPROVED, *well) is None
    assert said("migration-left", APPROVED) is None, "nothing was pending"


def test_each_later_decision_is_told_and_none_of_them_twice() -> None:
    told = Told(APPROVED, MIGRATION_INTENDED, MIGRATED)
    told.say("migration-failed")
    kept = told.say("migration-left")
    assert kept is not None
    assert kept.text.startswith("*Database left as it is*")
    assert told.say("migration-left") is None
    told.happened(TAKEN_BACK)
    back = told.say("migration-left")
    assert back is not None
    assert back.text.startswith("*Database migration taken back*")


def test_a_failure_that_was_made_good_has_left_nothing() -> None:
    told = Told(APPROVED, MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED)
    told.say("migration-failed")
    told.happened(MIGRATION_WATCHED)  # somebody has cleared the watch
    assert told.say("migration-left") is None


def test_a_failure_that_slack_did_not_take_does_not_keep_its_outcome_from_being_told() -> None:
    def refuse(_: Message) -> None:
        raise MessageError("Slack is away")

    told = Told(APPROVED, MIGRATION_INTENDED)
    with pytest.raises(MessageError):
        told.say("migration-failed", refuse)
    assert told.say("migration-left") is not None


def test_a_run_that_had_nothing_to_migrate_completes_no_migration() -> None:
    needless = said("migration-completed", APPROVED, NEEDLESS)
    assert needless is not None
    assert needless.text.startswith("*Database unchanged: nothing to migrate*")
    assert "schon auf dem Stand von 3.0.0" in needless.text


def surveyed(told: Told, *steps: str) -> None:
    told.happened(SURVEYED, steps=list(steps))


def test_only_a_run_that_has_something_to_migrate_tells_that_it_begins() -> None:
    told = Told(APPROVED)
    surveyed(told)
    assert told.say("migration-started") is None
    pending = Told(APPROVED)
    surveyed(pending, "c")
    began = pending.say("migration-started")
    assert began is not None
    assert began.text.startswith("*Database migration started*")


def another_has_migrated(*kinds: str) -> Told:
    """A run that has its Go, after one that has migrated and did not see that to be well."""
    told = Told(APPROVED)
    migrated = record(told.ledger, a_run("another"), MIGRATED, {})
    record(told.ledger, a_run("another"), MIGRATION_WATCH_FAILED, {"migrated": migrated.sequence})
    told.happened(*kinds)
    return told


def test_a_run_that_has_seen_to_be_well_what_another_one_has_migrated_tells_that_it_is_completed() -> None:
    completed = another_has_migrated(MIGRATION_VERIFIED, MIGRATION_WATCHED).say("migration-completed")
    assert completed is not None
    assert completed.text.startswith("*Database migration completed*")


@pytest.mark.parametrize(
    ("seen", "since"),
    [
        ((), ()),
        ((MIGRATION_VERIFIED,), ()),
        ((MIGRATION_WATCHED,), ()),
        ((MIGRATION_VERIFIED, MIGRATION_WATCH_FAILED), ()),
        ((MIGRATION_VERIFIED, MIGRATION_WATCHED), (TAKEN_BACK,)),
        ((MIGRATION_VERIFIED, MIGRATION_WATCHED), (RESTORED,)),
        ((MIGRATION_VERIFIED, MIGRATION_WATCHED), (MIGRATION_INTENDED, WAY_BACK_INTENDED)),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_no_migration_is_completed_that_is_not_seen_to_be_well_or_does_not_stand(
    ours: bool, seen: tuple[str, ...], since: tuple[str, ...]
) -> None:
    told = Told(APPROVED, MIGRATED, *seen) if ours else another_has_migrated(*seen)
    told.happened(*since)
    assert told.say("migration-completed") is None, "its task was set to success by hand"


def test_a_beginning_is_not_told_of_what_was_taken_back_nor_a_failure_of_what_was_made_good() -> None:
    gone = Told(APPROVED)
    surveyed(gone, "c")
    gone.happened(MIGRATION_INTENDED, MIGRATED, TAKEN_BACK)
    assert gone.say("migration-started") is None
    good = Told(APPROVED, MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED, MIGRATION_WATCH_FAILED)
    good.happened(MIGRATION_WATCHED)
    assert good.say("migration-failed") is None


def test_a_run_that_takes_back_what_another_one_has_migrated_tells_so() -> None:
    told = Told(APPROVED)
    migrated = record(told.ledger, a_run("another"), MIGRATED, {})
    record(told.ledger, RUN, MIGRATION_WATCH_FAILED, {"migrated": migrated.sequence})
    failed = told.say("migration-failed")
    assert failed is not None
    assert "auf dem Stand von 3.0.0" in failed.text
    told.happened(TAKEN_BACK)
    left = told.say("migration-left")
    assert left is not None
    assert left.text.startswith("*Database migration taken back*")


def in_slots(ledger: Ledger) -> None:
    record(ledger, RUN, STARTED, {"from": "blue", "to": "green"})


OF_SLOTS: list[Event] = ["slot-deployment-started", "cutover", "cleanup", "successful"]


def in_production(event: Event) -> Told:
    """What the event tells of has happened."""
    told = Told()
    in_slots(told.ledger)
    told.happened(*HAPPENED[event])
    return told


@pytest.mark.parametrize("event", OF_SLOTS)
@pytest.mark.parametrize("kind", [SWITCHED_BACK, ROLLED_BACK])
def test_after_a_rollback_nobody_is_told_what_is_so_no_more(event: Event, kind: str) -> None:
    by_the_watch, by_a_rollback = in_production(event), in_production(event)
    by_the_watch.happened(kind, by="watch")
    assert by_the_watch.say(event) is None
    record(by_a_rollback.ledger, a_run("rollback-1"), kind, {"release_id": RUN.release_id})
    assert by_a_rollback.say(event) is None


def test_a_cutover_that_was_switched_back_while_it_was_being_proven_is_not_told() -> None:
    told = Told(APPROVED, SWITCHED_BACK, CUT_OVER)
    in_slots(told.ledger)
    assert told.say("cutover") is None


@pytest.mark.parametrize("result", ["ROLLED_BACK", "ROLLED_BACK_BY_HAND", "FENCED"])
def test_traffic_that_was_moved_without_a_record_of_it_is_not_told_to_be_on_the_new_version(result: str) -> None:
    told = in_production("cutover")
    told.happened(WATCH_ENDED, result=result)
    assert told.say("cutover") is None


@pytest.mark.parametrize("result", ["PASSED", "HELD", "ROLLBACK_BLOCKED"])
def test_a_watch_that_has_left_users_on_the_new_version_changes_nothing(result: str) -> None:
    told = in_production("cutover")
    told.happened(WATCH_ENDED, result=result)
    assert told.say("cutover") is not None


@pytest.mark.parametrize("kind", [CUT_OVER, RESTORED])
def test_what_another_run_has_done_to_users_since_is_so_and_what_it_did_before_is_not(kind: str) -> None:
    told = Told()
    in_slots(told.ledger)
    record(told.ledger, a_run("before"), kind, {})
    told.happened(*HAPPENED["successful"])
    assert told.say("successful") is not None
    since = in_production("successful")
    record(since.ledger, a_run("since"), kind, {})
    assert since.say("successful") is None


def test_while_the_application_is_stopped_for_a_restore_nothing_is_told_and_afterwards_it_is() -> None:
    told = in_production("successful")
    record(told.ledger, a_run("restore"), RESTORE_STOPPED, {})
    assert told.say("successful") is None
    record(told.ledger, a_run("restore"), RESTORE_RESUMED, {})
    assert told.say("successful") is not None, "people have declined: users are on the release"


def test_what_the_run_itself_has_done_since_makes_its_beginnings_old_news() -> None:
    told = in_production("slot-deployment-started")
    told.happened(CUT_OVER)
    assert told.say("slot-deployment-started") is None, "users do not stay on the old version any more"
    migrated = Told(APPROVED)
    surveyed(migrated, "c")
    migrated.happened(MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED, MIGRATION_WATCHED)
    assert migrated.say("migration-started") is None


def test_a_failure_after_it_once_went_well_is_told() -> None:
    told = Told(APPROVED, MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED, MIGRATION_WATCHED)
    failed = told.say("migration-failed")
    assert failed is not None, "what was cleared since has found something else"


def test_the_switch_back_of_an_earlier_attempt_says_nothing_of_this_one() -> None:
    told = in_production("cutover")
    record(told.ledger, a_run("rollback-0"), SWITCHED_BACK, {"release_id": a_run("earlier").release_id})
    assert told.say("cutover") is not None


@pytest.mark.parametrize("event", [*HAPPENED, "migration-started", "migration-failed"])
def test_what_is_told_late_has_the_time_at_which_it_happened(event: Event) -> None:
    told = Told()
    in_slots(told.ledger)
    told.happened(APPROVED, at=LONG_AGO)
    surveyed(told, "c")
    told.happened(*HAPPENED.get(event, ()), at=LONG_AGO)
    if event == "migration-failed":
        told.happened(MIGRATED, MIGRATION_WATCH_FAILED, at=LONG_AGO)
    said = told.say(event)
    assert said is not None
    assert "04.03.2026, 10:30:00 Uhr" in said.text


def test_a_cutover_is_told_with_the_time_of_the_switch_and_not_of_its_proof() -> None:
    told = Told()
    in_slots(told.ledger)
    proven = LONG_AGO + timedelta(minutes=9)
    record(told.ledger, RUN, CUT_OVER, {"at": LONG_AGO.isoformat()}, at=proven)
    said = told.say("cutover")
    assert said is not None
    assert "04.03.2026, 10:30:00 Uhr" in said.text


def test_a_failure_that_left_no_record_was_when_it_was_first_tried_to_be_told() -> None:
    def refuse(_: Message) -> None:
        raise MessageError("Slack is away")

    told = Told(APPROVED, MIGRATION_INTENDED)
    with pytest.raises(MessageError):
        told.say("migration-failed", refuse)
    entries = told.ledger.written  # type: ignore[attr-defined]
    entries[-1] = replace(entries[-1], at=LONG_AGO)
    failed = told.say("migration-failed")
    assert failed is not None
    assert "04.03.2026, 10:30:00 Uhr" in failed.text


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("de", "tina hat das Beobachtungsfenster angenommen; von selbst bestanden hat es nicht."),
        ("en", "tina has accepted the watch; it did not pass by itself."),
    ],
)
def test_a_watch_that_a_person_has_accepted_is_not_told_to_have_passed(language: Any, sentence: str) -> None:
    told = in_production("cleanup")
    told.happened(WATCH_PASSED, result="ACCEPTED", measures={"accepted_by": "tina", "reason": "bots"})
    release = RUN.release.model_copy(update={"communication": Communication(language=language)})
    announce(replace(RUN, release=release), "cleanup", told.ledger, {"slack": told.sent.append})
    assert sentence in told.sent[-1].text
    assert "ist bestanden" not in told.sent[-1].text
    assert "The watch has passed" not in told.sent[-1].text


def test_a_watch_that_has_passed_is_told_to_have() -> None:
    told = in_production("cleanup")
    told.happened(WATCH_PASSED, result="PASSED", measures={})
    said = told.say("cleanup")
    assert said is not None
    assert "Das Beobachtungsfenster ist bestanden" in said.text


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("deployment-started", "Deployment started"),
        ("slot-deployment-started", "Green deployment started"),
        ("migration-completed", "Database migration completed"),
        ("cutover", "Traffic cutover to green"),
        ("cleanup", "Blue cleanup completed"),
        ("successful", "Deployment successful"),
    ],
)
def test_the_plans_messages_go_to_its_channel_and_into_one_thread(event: Event, line: str) -> None:
    ledger, sent = a_ledger(), list[Message]()
    in_slots(ledger)
    for kind in HAPPENED.get(event, ()):
        migrated = [entry.sequence for entry in ledger.entries(kinds=(MIGRATED,))]
        record(ledger, RUN, kind, {"migrated": migrated[-1]} if migrated else {})
    done = [announce(RUN, event, ledger, {"slack": sent.append}) for _ in range(2)]
    assert [one.sent for one in done if one] == [True, False]
    assert sent[0].text.startswith(f"*{line}*\n")
    assert (sent[0].channel, sent[0].threaded) == ("#valeo-erp-status", True)


def test_every_message_of_the_plan_has_an_event() -> None:
    assert {one.event for one in RUN.release.communication.status} <= set(get_args(Event))
    assert {one.event for one in RUN.release.communication.mails} <= set(get_args(Event))


@pytest.mark.parametrize(
    ("wanted", "channel"), [("#valeo-erp-alerts", "#valeo-erp-alerts"), ("#other", "#valeo-erp-status")]
)
def test_the_plan_says_in_which_channel(wanted: str, channel: str) -> None:
    ledger, sent = a_ledger(), list[Message]()
    in_slots(ledger)
    record(ledger, RUN, CUT_OVER, {})
    status = (StatusMessage(event="cutover", at="12:00", channel=wanted),)
    release = RUN.release.model_copy(update={"communication": Communication(status=status)})
    announce(replace(RUN, release=release), "cutover", ledger, {"slack": sent.append})
    assert sent[0].channel == channel


def test_that_there_was_nothing_to_migrate_is_told_where_the_plan_wants_to_hear_of_the_migration() -> None:
    ledger, sent = a_ledger(), list[Message]()
    record(ledger, RUN, NEEDLESS, {})
    status = (StatusMessage(event="migration-completed", at="12:00", channel="#valeo-erp-alerts"),)
    release = RUN.release.model_copy(update={"communication": Communication(status=status)})
    announce(replace(RUN, release=release), "migration-completed", ledger, {"slack": sent.append})
    assert (sent[0].text.splitlines()[0], sent[0].channel, sent[0].threaded) == (
        "*Database unchanged: nothing to migrate*",
        "#valeo-erp-alerts",
        True,
    )


def test_the_release_says_in_which_language() -> None:
    ledger, sent = a_ledger(), list[Message]()
    release = RUN.release.model_copy(update={"communication": Communication(language="en")})
    announce(replace(RUN, release=release), "deployment-started", ledger, {"slack": sent.append})
    assert "Started by rm." in sent[0].text


def test_without_the_ledger_a_message_waits_and_is_tried_again() -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        announce(RUN, "deployment-started", None, {})
    assert caught.value.retryable


def test_what_is_no_event_is_nothing_else_either() -> None:
    with pytest.raises(KeyError):
        announce(RUN, "released", a_ledger(), {})  # type: ignore[arg-type]
