"""The plan's promises in the ledger, each time they change: the report compares what happened with them."""

from __future__ import annotations

from typing import Final

from include.ledger.entry import Entry, canonical
from include.ledger.store import Ledger
from include.plan.schedule import schedule
from include.steps.record import record
from include.steps.run import ReleaseRun

PLANNED: Final = "plan.recorded"


def record_plan(run: ReleaseRun, ledger: Ledger) -> Entry:
    """Write what the plan says of this release, unless the newest entry says the same.

    :raises LedgerUnavailable: the ledger cannot be asked or written
    """
    promised = schedule(run.release, run.environment)
    known = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=(PLANNED,))
    if known and canonical(known[-1].payload) == canonical(dict(promised)):
        return known[-1]
    return record(ledger, run, PLANNED, promised, number=len(known) + 1)
