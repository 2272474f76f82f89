"""What the ledger says about a migration, and how a step finds it."""

from __future__ import annotations

import pytest

from include.steps.database.entries import SURVEYED, newest, note, open_migration
from include.steps.record import all_recorded, record
from include.steps.schema_proof import LEFT_OLD, MIGRATED, MIGRATION_INTENDED, RESTORED, TAKEN_BACK
from tests.unit.steps.database.worlds import a_ledger, a_run


def test_what_is_seen_again_is_not_written_again_but_what_changes_back_is() -> None:
    run, ledger = a_run(), a_ledger()
    for digest in ("a", "a", "b", "a"):
        note(ledger, run, SURVEYED, {"digest": digest})
    assert [one.payload["digest"] for one in all_recorded(ledger, run, SURVEYED)] == ["a", "b", "a"]


def test_the_newest_entry_with_certain_values_is_found() -> None:
    run, ledger = a_run(), a_ledger()
    for purpose, backup in (("rehearsal", "1"), ("rehearsal", "2"), ("safety", "3")):
        record(ledger, run, "backup.taken", {"purpose": purpose, "backup": backup}, number=backup)
    found = newest(ledger, run, "backup.taken", purpose="rehearsal")
    assert found is not None
    assert found.payload["backup"] == "2"
    assert newest(ledger, run, "backup.taken", purpose="other") is None


@pytest.mark.parametrize("undone", [TAKEN_BACK, RESTORED])
def test_a_migration_is_open_from_its_first_intent_until_it_is_undone(undone: str) -> None:
    ledger = a_ledger()
    assert open_migration(ledger, a_run()) is None
    for run_id in ("r1", "r2"):
        record(ledger, a_run(run_id), MIGRATION_INTENDED, {"current": [run_id]})
    record(ledger, a_run("r2"), MIGRATED, {})
    began = open_migration(ledger, a_run("r3"))
    assert began is not None
    assert began.payload["current"] == ["r1"], "the second run went on with what the first had begun"
    record(ledger, a_run("r3"), undone, {})
    assert open_migration(ledger, a_run("r4")) is None


@pytest.mark.parametrize("first_ended", [True, False])
def test_a_run_that_changed_nothing_closes_no_other_runs_migration(first_ended: bool) -> None:
    ledger = a_ledger()
    for run_id in ("r1", "r2"):
        record(ledger, a_run(run_id), MIGRATION_INTENDED, {"current": [run_id]})
    if first_ended:
        record(ledger, a_run("r1"), MIGRATED, {})
    record(ledger, a_run("r2"), LEFT_OLD, {})
    began = open_migration(ledger, a_run("r3"))
    assert began is not None
    assert began.run_id == "r1"
    if not first_ended:
        record(ledger, a_run("r1"), LEFT_OLD, {})
        assert open_migration(ledger, a_run("r3")) is None
