"""Whether the old version works on the schema that is live, as the ledger tells.

The schema belongs to the environment: what it has become is the course of all releases that migrated it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from include.bluegreen.eligibility import SchemaProof
from include.errors import LedgerError, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER, CUTOVER_INTENDED, RELEASED
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class SchemaFact:
    """How the previous version is known to work on the live schema.

    :param rehearsal: id of the rehearsal that has proven it
    """

    proof: SchemaProof
    rehearsal: str = ""


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


def must_not_go_down(run: ReleaseRun, ledger: Ledger, since: Entry) -> None:
    """Refuse to send users to a version on another schema than the one that it was proven on.

    :param since: when it was proven
    :raises TrafficError: the schema was changed or taken back since then, by whichever release, or it is being
        taken back, or the database is being restored
    :raises LedgerError: the ledger gives no answer
    """
    course = course_of(run, ledger, *STOPS, CUT_OVER)
    left = standing(course)
    ends = [entry for entry in left if entry.kind != MIGRATION_INTENDED]
    down = [entry for entry in course if entry.kind in UNDONE and entry.sequence > since.sequence]
    down += [entry for entry in ends[-1:] if entry.kind == WAY_BACK_INTENDED]
    if down:
        raise _not_that_schema(
            run, "the schema is being taken back, or was since the new version was proven", down[-1]
        )
    if up := [entry for entry in left if entry.sequence > since.sequence and entry.kind != WAY_BACK_INTENDED]:
        raise _not_that_schema(run, "the schema was changed since the new version was proven, or is being", up[-1])
    if stopped := being_restored(course):
        raise _not_that_schema(run, "the database is being restored", stopped)


def _not_that_schema(run: ReleaseRun, what: str, entry: Entry) -> TrafficError:
    return TrafficError(
        what,
        expected=f"the schema on which {run.release.version} was proven",
        seen=f"ledger entry {entry.sequence}, {entry.kind} of {entry.release}, run {entry.run_id}",
        remedy="let that run end, or decide what it asks; then start a new run",
    )


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


def schema_fact(run: ReleaseRun, ledger: Ledger, *, for_its_go: bool = False) -> SchemaFact:
    """How the previous version is known to work on the live schema of this environment.

    What proves it is the rehearsal that the last migration was decided by, if that was one with this old version
    and ended with the schema that is live; an older one that went well was one on other data. A migration that
    began and has no end in the ledger may have changed anything, and so may a way back. What other releases had
    migrated before this one was cut over is the schema that the previous version had. While the application is
    stopped for a restore, nobody may bring any of it up.

    :param for_its_go: leave out what the run itself has done with its Go: its own cutover cannot void that
    :raises LedgerError: the ledger gives no answer
    """
    found = course_of(run, ledger, *STOPS, REHEARSED, CUTOVER_INTENDED, CUT_OVER, RELEASED)
    if for_its_go:
        found = tuple(one for one in found if (one.kind, one.run_id) != (CUTOVER_INTENDED, run.run_id))
    if being_restored(found):
        return SchemaFact("restoring")
    left = standing(found)
    if not _changed(run, left, found):
        return SchemaFact("unchanged")
    last = left[-1]
    migrated = last.payload
    wanted = (migrated.get("rehearsal"), migrated.get("fingerprint"), run.release.previous)
    for entry in found if last.kind == MIGRATED else ():
        told = entry.payload
        proves = (told.get("id"), told.get("fingerprint"), told.get("previous")) == wanted
        if entry.kind == REHEARSED and proves:
            return SchemaFact("rehearsed", str(told["id"]))
    whose = f"{last.release}, run {last.run_id}"
    log.warning(
        "not proven: the schema is where ledger entry %d, %s of %s, left it", last.sequence, last.kind, whose
    )
    return SchemaFact("unproven")


def _changed(run: ReleaseRun, left: tuple[Entry, ...], found: Iterable[Entry]) -> bool:
    """Whether the schema is, or may be, another one than the previous version had before the release came.

    It is by what the release itself has done, by what others have done since its cutover, or since the previous
    version was released after that (the cutover was an earlier attempt then), and by what is half-way, unless a
    release was proven on that since.
    """
    moved = proven = 0
    for entry in found:
        ours = entry.release == run.release.version
        again = moved and (entry.kind, entry.release) == (RELEASED, run.release.previous)
        if again or (entry.kind == CUTOVER_INTENDED and ours):
            moved = entry.sequence
        if entry.kind == RELEASED and not ours:
            proven = entry.sequence
    if left and left[-1].kind != MIGRATED and left[-1].sequence > proven:
        return True
    return any(one.release == run.release.version or (moved and one.sequence > moved) for one in left)


def schema_proof(run: ReleaseRun, ledger: Ledger) -> SchemaProof:
    """The same without what has proven it.

    :raises LedgerError: the ledger gives no answer
    """
    return schema_fact(run, ledger).proof


def schema_fact_if_any(run: ReleaseRun, ledger: Callable[[], Ledger]) -> SchemaFact:
    """The same for going back, which waits for no ledger: without one it is ``unknown``, and that is said."""
    try:
        return schema_fact(run, ledger())
    except LedgerError as error:
        log.warning("whether the schema was changed is not known, it is taken as before the cutover: %s", error)
        return SchemaFact("unknown")


def schema_proof_if_any(run: ReleaseRun, ledger: Callable[[], Ledger]) -> SchemaProof:
    """See :func:`schema_fact_if_any`."""
    return schema_fact_if_any(run, ledger).proof
