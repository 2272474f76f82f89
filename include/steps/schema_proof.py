"""Whether the old version works on the schema that is live, and the new one on that it was proven on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from include.bluegreen.eligibility import SchemaProof
from include.errors import LedgerError, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER, CUTOVER_INTENDED, RELEASED
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    STOPS,
    UNDONE,
    WAY_BACK_INTENDED,
    being_restored,
    course_of,
    standing,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SchemaFact:
    """How the previous version is known to work on the live schema.

    :param rehearsal: id of the rehearsal that has proven it
    """

    proof: SchemaProof
    rehearsal: str = ""


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
