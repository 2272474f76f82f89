"""What the schema of an environment has become, as the ledger tells: who migrated, who went back, what stands.

The schema belongs to the environment: its course is that of all releases that migrated it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER
from include.steps.run import ReleaseRun

MIGRATION_INTENDED: Final = "migration.intended"
MIGRATED: Final = "migration.applied"
REHEARSED: Final = "rehearsal.proved"
TAKEN_BACK: Final = "migration.taken-back"
RESTORED: Final = "restore.done"
LEFT_OLD: Final = "migration.changed-nothing"
WAY_BACK_INTENDED: Final = "migration.way-back-intended"
WAY_BACK_LEFT: Final = "migration.way-back-changed-nothing"
RESTORE_STOPPED: Final = "restore.stopped"
RESTORE_RESUMED: Final = "restore.resumed"

UNDONE: Final = (TAKEN_BACK, RESTORED)
"""After these the schema is what it was before the release's migration, whichever runs have had a part in it."""

COURSE: Final = (MIGRATION_INTENDED, MIGRATED, LEFT_OLD, WAY_BACK_INTENDED, WAY_BACK_LEFT, *UNDONE)
"""What tells how the migrations of an environment go."""

_OF_ITSELF: Final = {MIGRATION_INTENDED: LEFT_OLD, MIGRATED: LEFT_OLD, WAY_BACK_INTENDED: WAY_BACK_LEFT}
"""What a run says when it finds that something of its own has changed nothing."""

STOPS: Final = (RESTORE_STOPPED, RESTORE_RESUMED, RESTORED)
"""What tells whether the application is stopped for a restore."""


def entries_of_release(run: ReleaseRun, ledger: Ledger, *kinds: str) -> tuple[Entry, ...]:
    """The entries of the run's release in its environment, whichever run wrote them, oldest first.

    :raises LedgerError: the ledger gives no answer
    """
    return ledger.entries(release=run.release.version, environment=run.environment.name, kinds=kinds)


def course_of(run: ReleaseRun, ledger: Ledger, *more: str) -> tuple[Entry, ...]:
    """The course of the schema of the run's environment, whichever release has had a part in it, oldest first.

    :param more: further kinds of entries
    :raises LedgerError: the ledger gives no answer
    """
    return ledger.entries(environment=run.environment.name, kinds=(*COURSE, *more))


def _undone(course: Iterable[Entry]) -> tuple[dict[int, Entry], list[Entry]]:
    """What has undone which entry, by the entry's sequence; and what stands, oldest first."""
    undone: dict[int, Entry] = {}
    left: list[Entry] = []
    for entry in course:
        if entry.kind in _OF_ITSELF:
            left.append(entry)
            continue
        gone = {one.sequence for one in _undoes(entry, left)}
        undone |= dict.fromkeys(gone, entry)
        left = [one for one in left if one.sequence not in gone]
    return undone, left


def _undoes(entry: Entry, left: list[Entry]) -> list[Entry]:
    """Which of the entries that stand are undone by the next one."""
    ours = [one for one in left if one.release == entry.release]
    if entry.kind in UNDONE and ours:
        return [one for one in left if one.release == entry.release or one.sequence > ours[0].sequence]
    return [one for one in ours if (_OF_ITSELF[one.kind], one.run_id) == (entry.kind, entry.run_id)]


def undone_by(entry: Entry, course: Iterable[Entry]) -> Entry | None:
    """What has undone an entry since; None while it stands. Pure.

    A way back and a restore undo what every run of their release has done, and what other releases have done on
    top of it. A run that has changed nothing says so of itself alone: another one may have migrated, or be at it.

    :param course: entries of the environment, oldest first
    """
    return _undone(course)[0].get(entry.sequence)


def given_up(intent: Entry, course: Iterable[Entry]) -> bool:
    """Whether a run has found that what it intended changed nothing, and nobody has undone anything since. Pure.

    :param course: entries of the environment, oldest first
    """
    since = [later for later in course if later.sequence > intent.sequence]
    of_itself = (intent.release, _OF_ITSELF[intent.kind], intent.run_id)
    said = any((later.release, later.kind, later.run_id) == of_itself for later in since)
    return said and not any(later.kind in UNDONE for later in since)


def standing(course: Iterable[Entry]) -> tuple[Entry, ...]:
    """The ways up that began and those that ended, and the ways back that began, without what is undone. Pure.

    A way back from a migration that has changed nothing is none.

    :param course: entries of one environment, oldest first
    :return: oldest first: the last one tells where the schema stands
    """
    left = _undone(course)[1]
    began = {entry.sequence for entry in left if entry.kind == MIGRATION_INTENDED}
    return tuple(entry for entry in left if entry.kind != WAY_BACK_INTENDED or entry.payload.get("began") in began)


def standing_of(run: ReleaseRun, ledger: Ledger) -> tuple[Entry, ...]:
    """What stands of the run's release, whichever run has done it, see :func:`standing`.

    :raises LedgerError: the ledger gives no answer
    """
    return tuple(entry for entry in standing(course_of(run, ledger)) if entry.release == run.release.version)


def being_restored(course: Iterable[Entry]) -> Entry | None:
    """The stop of the application for a restore that has not ended; None where there is none. Pure.

    What was stopped for a release is over once another one was cut over.

    :param course: entries of one environment, oldest first
    """
    stopped: Entry | None = None
    for entry in course:
        if entry.kind in STOPS:
            stopped = entry if entry.kind == RESTORE_STOPPED else None
        elif stopped and entry.kind == CUT_OVER and entry.release != stopped.release:
            stopped = None
    return stopped
