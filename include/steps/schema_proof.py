"""Whether the old version works on the schema that is live, as the ledger tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from include.bluegreen.eligibility import SchemaProof
from include.errors import LedgerError
from include.ledger.store import Ledger
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

MIGRATION_INTENDED: Final = "migration.intended"
MIGRATED: Final = "migration.applied"
REHEARSED: Final = "rehearsal.proved"
TAKEN_BACK: Final = "migration.taken-back"
RESTORED: Final = "restore.done"
LEFT_OLD: Final = "migration.changed-nothing"
RESTORE_STOPPED: Final = "restore.stopped"
RESTORE_RESUMED: Final = "restore.resumed"

UNDONE: Final = (TAKEN_BACK, RESTORED, LEFT_OLD)
"""After these the schema is what it was before the migration."""


@dataclass(frozen=True)
class SchemaFact:
    """How the previous version is known to work on the live schema.

    :param rehearsal: id of the rehearsal that has proven it
    """

    proof: SchemaProof
    rehearsal: str = ""


def schema_fact(run: ReleaseRun, ledger: Ledger) -> SchemaFact:
    """How the previous version is known to work on the live schema of this environment.

    A rehearsal proves the schema that it ended with, told by its fingerprint, and no other. A migration that began
    and has no end in the ledger may have changed anything. While the application is stopped for a restore, nobody
    may bring any of it up.

    :raises LedgerError: the ledger gives no answer
    """
    found = ledger.entries(
        release=run.release.version,
        environment=run.environment.name,
        kinds=(MIGRATION_INTENDED, MIGRATED, REHEARSED, RESTORE_STOPPED, RESTORE_RESUMED, *UNDONE),
    )
    stops = [entry.kind for entry in found if entry.kind in (RESTORE_STOPPED, RESTORE_RESUMED, RESTORED)]
    if stops[-1:] == [RESTORE_STOPPED]:
        return SchemaFact("restoring")
    beside = (REHEARSED, RESTORE_STOPPED, RESTORE_RESUMED)
    last = next((entry for entry in reversed(found) if entry.kind not in beside), None)
    if last is None or last.kind in UNDONE:
        return SchemaFact("unchanged")
    if last.kind == MIGRATION_INTENDED:
        return SchemaFact("unproven")
    live = last.payload.get("fingerprint")
    proven = [entry for entry in found if entry.kind == REHEARSED and entry.payload.get("fingerprint") == live]
    return SchemaFact("rehearsed", str(proven[-1].payload.get("id", ""))) if proven else SchemaFact("unproven")


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
