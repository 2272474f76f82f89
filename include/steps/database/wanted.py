"""Whether what a run has begun with the schema is still wanted: asked before each of its attempts."""

from __future__ import annotations

from collections.abc import Iterable

from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    STOPS,
    WAY_BACK_INTENDED,
    being_restored,
    course_of,
    standing,
    undone_by,
)


def must_not_be_undone(intent: Entry, course: Iterable[Entry]) -> None:
    """Refuse to do again what somebody has taken back: that needs a decision of its own. Pure.

    :param course: entries of the environment, oldest first
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
    :raises MigrationRefused: it was undone, or is being taken back; another run has migrated to somewhere else;
        another release has begun to migrate; a backup is being restored
    :raises LedgerError: the ledger gives no answer
    """
    course = course_of(run, ledger, *STOPS, CUT_OVER)
    must_not_be_undone(intent, course)
    target = intent.payload["target"]
    for other in course:
        ours = (other.release, other.run_id) == (intent.release, intent.run_id)
        if other.kind != MIGRATED or ours or other.sequence < intent.sequence:
            continue
        if other.payload["revisions"] != target:
            there = ", ".join(other.payload["revisions"])
            raise MigrationRefused(
                "another run has migrated since this one has begun",
                expected=", ".join(target),
                seen=f"{there} in ledger entry {other.sequence} of run {other.run_id}",
                remedy="start a new run",
            )
    since = _since(intent, course)
    if on_top := [entry for entry in since if entry.release != intent.release]:
        raise MigrationRefused(
            f"{on_top[-1].release} has begun to migrate since this run has begun",
            seen=f"ledger entry {on_top[-1].sequence} of run {on_top[-1].run_id}",
            remedy="let that run end; then start a new run",
        )
    if down := [entry for entry in since if entry.kind == WAY_BACK_INTENDED]:
        raise MigrationRefused(
            "the schema is being taken back",
            seen=f"ledger entry {down[-1].sequence} of run {down[-1].run_id}",
            remedy="let the way back finish, or clear its way_back.state; then start a new run",
        )
    _must_not_be_restored(course)


def must_go_down(run: ReleaseRun, ledger: Ledger, intent: Entry) -> None:
    """Refuse to go on with a way back that somebody has finished, or under a migration that began since then.

    :param intent: of the way back
    :raises MigrationRefused: see there, or a backup is being restored
    :raises LedgerError: the ledger gives no answer
    """
    course = course_of(run, ledger, *STOPS, CUT_OVER)
    if undone := undone_by(intent, course):
        raise MigrationRefused(
            "this way back is over",
            seen=f"ledger entry {undone.sequence}, {undone.kind}",
            remedy="clear way_back.state: it says what there is to take back",
        )
    if overtaken(intent, course):
        raise MigrationRefused(
            "a migration has begun since this way back was confirmed",
            remedy="clear way_back.state: it says what going back would lose now",
        )
    _must_not_be_restored(course)


def must_be_on_top(began: Entry, course: Iterable[Entry]) -> None:
    """Refuse to take a release's schema back under what another one has done on top of it. Pure.

    :param began: where the release's migration began
    :param course: entries of the environment, oldest first
    :raises MigrationRefused: another one has
    """
    others = [entry for entry in _since(began, course) if entry.release != began.release]
    if others:
        raise MigrationRefused(
            f"{others[-1].release} has migrated on top of {began.release}",
            seen=f"ledger entry {others[-1].sequence} of run {others[-1].run_id}",
            remedy=f"take the schema of {others[-1].release} back first: `way_back` of that run",
        )


def overtaken(way_back: Entry, course: Iterable[Entry]) -> bool:
    """Whether somebody has begun to migrate again since a way back was begun. Pure."""
    return any(entry.kind == MIGRATION_INTENDED for entry in _since(way_back, course))


def _since(intent: Entry, course: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in standing(course) if entry.sequence > intent.sequence)


def _must_not_be_restored(course: Iterable[Entry]) -> None:
    if being_restored(course):
        raise MigrationRefused(
            "the database is being restored", remedy="let the restore finish, then start a new run"
        )
