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

MIGRATED: Final = "migration.applied"
REHEARSED: Final = "rehearsal.proved"


def schema_proof(run: ReleaseRun, ledger: Ledger) -> SchemaProof:
    """How the previous version is known to work on the live schema of this environment.

    :raises LedgerError: the ledger gives no answer
    """
    found = ledger.entries(
        release=run.release.version, environment=run.environment.name, kinds=(MIGRATED, REHEARSED)
    )
    kinds = {entry.kind for entry in found}
    if MIGRATED not in kinds:
        return "unchanged"
    return "rehearsed" if REHEARSED in kinds else "unproven"


def schema_proof_if_any(run: ReleaseRun, ledger: Callable[[], Ledger]) -> SchemaProof:
    """The same for going back, which waits for no ledger: without one it is ``unknown``, and that is said."""
    try:
        return schema_proof(run, ledger())
    except LedgerError as error:
        log.warning("whether the schema was changed is not known, it is taken as before the cutover: %s", error)
        return "unknown"
