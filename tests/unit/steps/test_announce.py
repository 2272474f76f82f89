"""Who was told that a migration begins is told how it has failed, and what it has left."""

from __future__ import annotations

import pytest

from include.messages.model import Message
from include.steps.announce import Event, announce
from include.steps.record import APPROVED, record
from include.steps.schema_proof import LEFT_OLD, MIGRATED, MIGRATION_INTENDED, TAKEN_BACK, WAY_BACK_INTENDED
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")


def said(event: Event, *kinds: str) -> Message | None:
    """What is sent when these are in the ledger."""
    ledger, sent = a_ledger(), list[Message]()
    for kind in kinds:
        record(ledger, RUN, kind, {"began": 2})
    key = announce(RUN, event, ledger, {"slack": sent.append})
    assert (key is None) == (sent == [])
    return sent[0] if sent else None


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
    first, last = said("migration-failed", APPROVED, *kinds), said("migration-left", APPROVED, *kinds)
    assert first is not None
    assert last is not None
    assert first.text.startswith("*Database migration failed*")
    assert failed in first.text
    assert last.text.startswith(f"*{line}*")
    assert left in last.text
    assert first.key != last.key
