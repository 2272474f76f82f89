"""What the steps of a migration write to the ledger, and how they find it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from include.ledger.entry import Entry, canonical
from include.ledger.store import Ledger
from include.steps.record import all_recorded, record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATION_INTENDED,
    course_of,
    entries_of_release,
    given_up,
    standing,
    standing_of,
)

BACKED_UP: Final = "backup.taken"
BACKUP_PROVEN: Final = "backup.verified"
SURVEYED: Final = "migration.surveyed"
TRIED_OUT: Final = "rehearsal.done"
ROWS_AT_RISK: Final = "migration.rows-at-risk"
NOTHING_PENDING: Final = "migration.nothing-pending"
NEEDLESS: Final = "migration.needless"
MIGRATION_VERIFIED: Final = "migration.verified"
MIGRATION_WATCH_STARTED: Final = "migration.watch-started"
MIGRATION_WATCH_CHECKPOINT: Final = "migration.watch-checkpoint"
MIGRATION_WATCH_FAILED: Final = "migration.watch-failed"
MIGRATION_WATCHED: Final = "migration.watched"
WAY_BACK_STATED: Final = "migration.way-back-stated"
RESTORE_STATED: Final = "restore.stated"
LOSS_CONFIRMED: Final = "database.loss-confirmed"
LOSS_REFUSED: Final = "database.loss-refused"
LOSS_ANSWER_REFUSED: Final = "database.answer-refused"
WAY_BACK_UNKNOWN: Final = "migration.way-back-unknown"

Purpose = Literal["rehearsal", "safety"]
"""What a backup is for: to be copied from, or to be returned to."""


def note(ledger: Ledger, run: ReleaseRun, kind: str, payload: Mapping[str, Any]) -> Entry:
    """Record what was seen, unless the newest entry of this kind says the same.

    :raises LedgerUnavailable: the ledger cannot be written
    """
    known = all_recorded(ledger, run, kind)
    if known and canonical(known[-1].payload) == canonical(dict(payload)):
        return known[-1]
    return record(ledger, run, kind, payload, number=len(known) + 1)


def newest(ledger: Ledger, run: ReleaseRun, kind: str, **wanted: object) -> Entry | None:
    """The run's newest entry of this kind whose payload has these values."""
    return _newest(all_recorded(ledger, run, kind), wanted)


def newest_of_release(ledger: Ledger, run: ReleaseRun, kind: str, **wanted: object) -> Entry | None:
    """The same among the entries of every run of the release."""
    return _newest(entries_of_release(run, ledger, kind), wanted)


def _newest(found: Sequence[Entry], wanted: Mapping[str, object]) -> Entry | None:
    return next(
        (
            entry
            for entry in reversed(found)
            if all(entry.payload.get(name) == value for name, value in wanted.items())
        ),
        None,
    )


def own_intent(ledger: Ledger, run: ReleaseRun) -> Entry | None:
    """The run's migration that has begun; None when none has, or when it is known to have changed nothing.

    Then the run may begin anew, with all that comes before it.
    """
    intent = recorded(ledger, run, MIGRATION_INTENDED)
    if intent is None or given_up(intent, course_of(run, ledger)):
        return None
    return intent


def open_migration(ledger: Ledger, run: ReleaseRun) -> Entry | None:
    """Where this release's migration of this environment began, whichever run began it.

    It is the first intent that is not undone: what it has recorded is what to return to, also when a second run
    went on with what a first one had left half-way, or has changed nothing. None when all is undone.
    """
    return next((entry for entry in standing_of(run, ledger) if entry.kind == MIGRATION_INTENDED), None)


def to_return_to(ledger: Ledger, run: ReleaseRun) -> Entry | None:
    """The intent whose backup is the newest from before this release's migration; None when all is undone.

    Where a run was stopped before it changed anything, and did not come to say so, a later one has found the
    database with the same revisions and the same schema, and has backed it up anew. What was begun after something
    was migrated, or rows may have been changed unseen, has a backup of that.
    """
    first = open_migration(ledger, run)
    if first is None:
        return None
    found = first
    course = course_of(run, ledger, ROWS_AT_RISK)
    left = {entry.sequence for entry in standing(course)}
    for entry in course:
        if entry.release != first.release or entry.sequence <= first.sequence:
            continue
        if entry.kind == ROWS_AT_RISK or (entry.sequence in left and entry.kind != MIGRATION_INTENDED):
            break
        if entry.sequence in left and _alike(entry, first):
            found = entry
    return found


def _alike(entry: Entry, first: Entry) -> bool:
    """Whether a migration began with the database as the first one did."""
    names = ("system", "database", "current", "before")
    return all(entry.payload.get(name) == first.payload.get(name) for name in names)
