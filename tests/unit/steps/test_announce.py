"""What a step tells: each event once, in the release's language and thread; of a migration, what it has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

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
)
from include.steps.record import APPROVED, CLEANED_UP, CUT_OVER, RELEASED, STARTED, record
from include.steps.schema_proof import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    RESTORED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
)
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")


class Told:
    """A run of which messages are sent."""

    def __init__(self, *kinds: str) -> None:
        self.ledger, self.sent = a_ledger(), list[Message]()
        self.happened(*kinds)

    def happened(self, *kinds: str) -> None:
        for kind in kinds:
            record(self.ledger, RUN, kind, {"began": 2})

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
    "migration-completed": (MIGRATED, MIGRATION_VERIFIED),
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
            "wird festgestellt",
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


def test_a_run_that_only_watched_what_another_one_has_migrated_tells_of_neither() -> None:
    told = Told(APPROVED)
    record(told.ledger, a_run("another"), MIGRATED, {})
    told.happened(MIGRATION_VERIFIED, MIGRATION_WATCHED)
    assert told.say("migration-completed") is None


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
        record(ledger, RUN, kind, {})
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
