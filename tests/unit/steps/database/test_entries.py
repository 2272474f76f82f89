"""What the ledger says about a migration, and how a step finds it."""

from __future__ import annotations

import pytest

from include.ledger.store import Ledger
from include.steps.database.entries import ROWS_AT_RISK, SURVEYED, newest, note, open_migration, to_return_to
from include.steps.record import all_recorded, record
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    RESTORED,
    TAKEN_BACK,
)
from tests.unit.steps.database.worlds import a_hotfix, a_ledger, a_run


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


OLD = {"current": ["b"], "before": "f"}


def two_runs(*between: tuple[str, str], **other: object) -> Ledger:
    """The first was stopped before anybody could say what it has changed; the second has migrated."""
    ledger = a_ledger()
    record(ledger, a_run("r1"), MIGRATION_INTENDED, {**OLD, "backup": "monday"})
    for run_id, kind in between:
        record(ledger, a_run(run_id), kind, {})
    record(ledger, a_run("r2"), MIGRATION_INTENDED, {**OLD, "backup": "tuesday", **other})
    record(ledger, a_run("r2"), MIGRATED, {})
    return ledger


@pytest.mark.parametrize(
    ("ledger", "backup"),
    [
        (two_runs(), "tuesday"),
        (two_runs(current=["c"]), "monday"),
        (two_runs(before="altered"), "monday"),
        (two_runs(("r1", ROWS_AT_RISK)), "monday"),
        (two_runs(("r1", MIGRATED)), "monday"),
        (two_runs(("r1", LEFT_OLD)), "tuesday"),
    ],
)
def test_the_newest_backup_from_before_the_migration_is_returned_to(ledger: Ledger, backup: str) -> None:
    began = open_migration(ledger, a_run("rb"))
    found = to_return_to(ledger, a_run("rb"))
    assert began is not None
    assert found is not None
    assert found.payload["backup"] == backup
    record(ledger, a_hotfix(), MIGRATION_INTENDED, {**OLD, "backup": "another release's"})
    assert to_return_to(ledger, a_run("rb")) == found
    record(ledger, a_run("rb"), RESTORED, {})
    assert (open_migration(ledger, a_run("rb")), to_return_to(ledger, a_run("rb"))) == (None, None)
    assert open_migration(ledger, a_hotfix()) is None, "it was on top"
