"""Who was told that a migration begins is told how it has failed, and what it has left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from include.errors import MessageError
from include.messages.model import Message
from include.steps.announce import Event, announce
from include.steps.database.entries import MIGRATION_VERIFIED, MIGRATION_WATCH_FAILED, MIGRATION_WATCHED
from include.steps.record import APPROVED, record
from include.steps.schema_proof import LEFT_OLD, MIGRATED, MIGRATION_INTENDED, TAKEN_BACK, WAY_BACK_INTENDED
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


@pytest.mark.parametrize("event", ["migration-failed", "migration-left"])
def test_of_a_run_that_nobody_decided_about_nobody_was_told_and_is(event: Event) -> None:
    assert said(event) is None


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
    done, needless = said("migration-completed", APPROVED, MIGRATED), said("migration-completed", APPROVED)
    assert done is not None
    assert needless is not None
    assert done.text.startswith("*Database migration completed*")
    assert needless.text.startswith("*Database unchanged: nothing to migrate*")
    assert "schon auf dem Stand von 3.0.0" in needless.text


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
