"""Whether what a run has begun with the schema is still wanted: asked before each of its attempts."""

from __future__ import annotations

from collections.abc import Iterable

from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.run import ReleaseRun
from include.steps.schema_proof import COURSE, MIGRATED, STOPS, being_restored, entries_of_release, undone_by


def must_not_be_undone(intent: Entry, course: Iterable[Entry]) -> None:
    """Refuse to do again what somebody has taken back: that needs a decision of its own. Pure.

    :param course: entries of the release and environment, oldest first
    :raises MigrationRefused: it was taken back, restored away, or given up
    """
    if undone := undone_by(intent, course):
        raise MigrationRefused(
            "this run's migration has been undone",
            seen=f"ledger entry {undone.sequence}, {undone.kind}",
            remedy="start a new run",
        )


def must_be_wanted(run: ReleaseRun, ledger: Ledger, intent: Entry) -> None:
    """Refuse to go on with what was undone meanwhile, or on top of what others do with the database.

    :param intent: of the run's migration
    :raises MigrationRefused: it was undone; another run has migrated to somewhere else; a backup is being restored
    :raises LedgerError: the ledger gives no answer
    """
    course = entries_of_release(run, ledger, *COURSE, *STOPS)
    must_not_be_undone(intent, course)
    target = intent.payload["target"]
    for other in course:
        ours = other.run_id == run.run_id or other.sequence < intent.sequence
        if other.kind == MIGRATED and not ours and other.payload["revisions"] != target:
            there = ", ".join(other.payload["revisions"])
            raise MigrationRefused(
                "another run has migrated since this one has begun",
                expected=", ".join(target),
                seen=f"{there} in ledger entry {other.sequence} of run {other.run_id}",
                remedy="start a new run",
            )
    if being_restored(course):
        raise MigrationRefused(
            "the database is being restored", remedy="let the restore finish, then start a new run"
        )
