"""Whether the old version works on the schema that is live, as the ledger tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from include.bluegreen.eligibility import SchemaProof
from include.errors import LedgerError, TrafficError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
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
"""After these the schema is what it was before the migration, whichever runs have had a part in it."""

COURSE: Final = (MIGRATION_INTENDED, MIGRATED, LEFT_OLD, WAY_BACK_INTENDED, WAY_BACK_LEFT, *UNDONE)
"""What tells how a release's migration of an environment goes."""

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


def undone_by(entry: Entry, course: Iterable[Entry]) -> Entry | None:
    """What has undone an entry since; None while it stands. Pure.

    A way back and a restore undo what every run has done. A run that has changed nothing says so of itself alone:
    another one may have migrated, or be at it.

    :param course: entries of the same release and environment, oldest first
    """
    for later in course:
        of_itself = later.kind == _OF_ITSELF.get(entry.kind) and later.run_id == entry.run_id
        if later.sequence > entry.sequence and (later.kind in UNDONE or of_itself):
            return later
    return None


def given_up(intent: Entry, course: Iterable[Entry]) -> bool:
    """Whether a run has found that what it intended changed nothing, and nobody has undone anything since. Pure.

    :param course: entries of the same release and environment, oldest first
    """
    since = [later for later in course if later.sequence > intent.sequence]
    of_itself = (_OF_ITSELF[intent.kind], intent.run_id)
    said = any((later.kind, later.run_id) == of_itself for later in since)
    return said and not any(later.kind in UNDONE for later in since)


def standing(course: Iterable[Entry]) -> tuple[Entry, ...]:
    """The ways up that began and those that ended, and the ways back that began, without what is undone. Pure.

    A way back from a migration that has changed nothing is none.

    :param course: entries of one release and environment, oldest first
    :return: oldest first: the last one tells where the schema stands
    """
    found = tuple(course)
    left = tuple(entry for entry in found if entry.kind in _OF_ITSELF and undone_by(entry, found) is None)
    began = {entry.sequence for entry in left if entry.kind == MIGRATION_INTENDED}
    return tuple(entry for entry in left if entry.kind != WAY_BACK_INTENDED or entry.payload.get("began") in began)


def must_not_go_down(run: ReleaseRun, ledger: Ledger, since: Entry) -> None:
    """Refuse to send users to a version whose schema is taken back, or was since that version was looked at.

    :param since: when it was proven
    :raises TrafficError: it is
    :raises LedgerError: the ledger gives no answer
    """
    course = entries_of_release(run, ledger, *COURSE)
    ends = [entry for entry in standing(course) if entry.kind != MIGRATION_INTENDED]
    down = [entry for entry in course if entry.kind in UNDONE and entry.sequence > since.sequence]
    down += [entry for entry in ends[-1:] if entry.kind == WAY_BACK_INTENDED]
    if down:
        raise TrafficError(
            "the schema is being taken back, or was since the new version was proven",
            expected=f"the schema on which {run.release.version} was proven",
            seen=f"ledger entry {down[-1].sequence}, {down[-1].kind}",
            remedy="decide about the migration first, then start a new run",
        )


def being_restored(course: Iterable[Entry]) -> bool:
    """Whether the application is stopped for a restore that has not ended. Pure.

    :param course: entries of one release and environment, oldest first
    """
    stops = [entry.kind for entry in course if entry.kind in STOPS]
    return stops[-1:] == [RESTORE_STOPPED]


def schema_fact(run: ReleaseRun, ledger: Ledger) -> SchemaFact:
    """How the previous version is known to work on the live schema of this environment.

    What proves it is the rehearsal that the migration was decided by, if that was one with this old version and
    ended with the schema that is live; an older one that went well was one on other data. A migration that began
    and has no end in the ledger may have changed anything, and so may a way back. While the application is stopped
    for a restore, nobody may bring any of it up.

    :raises LedgerError: the ledger gives no answer
    """
    found = entries_of_release(run, ledger, *COURSE, *STOPS, REHEARSED)
    if being_restored(found):
        return SchemaFact("restoring")
    left = standing(found)
    if not left:
        return SchemaFact("unchanged")
    if left[-1].kind != MIGRATED:
        return SchemaFact("unproven")
    migrated = left[-1].payload
    wanted = (migrated.get("rehearsal"), migrated.get("fingerprint"), run.release.previous)
    for entry in found:
        told = entry.payload
        proves = (told.get("id"), told.get("fingerprint"), told.get("previous")) == wanted
        if entry.kind == REHEARSED and proves:
            return SchemaFact("rehearsed", str(told["id"]))
    return SchemaFact("unproven")


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
