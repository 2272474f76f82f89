"""Whether the old version works on the schema that is live, as the ledger tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
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

UNDONE: Final = (TAKEN_BACK, RESTORED, LEFT_OLD)
"""After these the schema is what it was before the migration."""


def schema_proof(run: ReleaseRun, ledger: Ledger) -> SchemaProof:
    """How the previous version is known to work on the live schema of this environment.

    A rehearsal proves the schema that it ended with, told by its fingerprint, and no other. A migration that began
    and has no end in the ledger may have changed anything.

    :raises LedgerError: the ledger gives no answer
    """
    found = ledger.entries(
        release=run.release.version,
        environment=run.environment.name,
        kinds=(MIGRATION_INTENDED, MIGRATED, REHEARSED, *UNDONE),
    )
    last = next((entry for entry in reversed(found) if entry.kind != REHEARSED), None)
    if last is None or last.kind in UNDONE:
        return "unchanged"
    if last.kind == MIGRATION_INTENDED:
        return "unproven"
    live = last.payload.get("fingerprint")
    proven = (entry.payload.get("fingerprint") for entry in found if entry.kind == REHEARSED)
    return "rehearsed" if live in proven else "unproven"


def schema_proof_if_any(run: ReleaseRun, ledger: Callable[[], Ledger]) -> SchemaProof:
    """The same for going back, which waits for no ledger: without one it is ``unknown``, and that is said."""
    try:
        return schema_proof(run, ledger())
    except LedgerError as error:
        log.warning("whether the schema was changed is not known, it is taken as before the cutover: %s", error)
        return "unknown"
