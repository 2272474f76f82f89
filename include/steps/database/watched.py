"""Which migration the running version is watched on, and what of it nobody has seen to be well."""

from __future__ import annotations

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCHED,
    newest_of_release,
)
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    course_of,
    entries_of_release,
    standing_of,
    undone_by,
)


def to_be_watched(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The migration whose schema is live: the run's own, or else the newest that another run has left.

    One that has begun and has no end in the ledger may have changed anything, so it is one, too.

    :return: where it is recorded; None when the release has migrated nothing, or all is undone
    :raises LedgerError: the ledger gives no answer
    """
    ups = (MIGRATION_INTENDED, MIGRATED)
    left = [entry for entry in standing_of(run, ledger) if entry.kind in ups]
    ours = [entry for entry in left if entry.run_id == run.run_id]
    found = ours or left
    return found[-1] if found else None


def undone_since(run: ReleaseRun, ledger: Ledger, migrated: int) -> Entry | None:
    """What has undone a migration of the release since; None while it stands.

    :param migrated: the ledger entry that records it
    :raises LedgerError: the ledger gives no answer
    """
    course = course_of(run, ledger)
    migration = next((entry for entry in course if entry.sequence == migrated), None)
    return undone_by(migration, course) if migration else None


def passed_on(run: ReleaseRun, ledger: Ledger, migration: Entry) -> Entry | None:
    """The watch that a migration has passed, whichever run has watched; None while there is none."""
    return newest_of_release(ledger, run, MIGRATION_WATCHED, migrated=migration.sequence)


def not_seen_well(run: ReleaseRun, ledger: Ledger) -> tuple[str, ...]:
    """What whoever decides about a migration has to know of one that another run has left, a sentence each.

    :raises LedgerError: the ledger gives no answer
    """
    left = to_be_watched(run, ledger)
    if left is None or left.run_id == run.run_id:
        return ()
    found = []
    if left.kind == MIGRATION_INTENDED:
        found.append(f"run {left.run_id} has begun to migrate, how far it came is not recorded")
    elif not any(one.sequence > left.sequence for one in entries_of_release(run, ledger, MIGRATION_VERIFIED)):
        found.append(f"run {left.run_id} has migrated, and has not seen the schema that its rehearsal ended with")
    if passed_on(run, ledger, left) is None:
        failed = newest_of_release(ledger, run, MIGRATION_WATCH_FAILED, migrated=left.sequence)
        found.append(f"nobody has seen the running version work on the schema that run {left.run_id} left")
        found.append(
            f"its watch did not pass: {failed.payload['sentence']}" if failed else "its watch has not ended"
        )
    return tuple(found)
