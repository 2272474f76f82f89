"""The plan's promises in the ledger, each time they change: the report compares what happened with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from include.ledger.entry import Entry, canonical
from include.ledger.store import Ledger
from include.plan.kept import Kept
from include.plan.schedule import schedule
from include.steps.record import record
from include.steps.run import ReleaseRun

PLANNED: Final = "plan.recorded"
KEPT: Final = "plan.kept"


def record_plan(run: ReleaseRun, ledger: Ledger) -> Entry:
    """Write what the plan says of this release, unless the newest entry says the same; and keep the plan.

    :raises LedgerUnavailable: the ledger cannot be asked or written
    """
    keep_plan(run, ledger)
    return _unless_known(run, ledger, PLANNED, schedule(run.release, run.environment))


def keep_plan(run: ReleaseRun, ledger: Ledger) -> None:
    """Keep the files of a release as they were valid: a rollback must not end because one is broken by then.

    :raises LedgerUnavailable: the ledger cannot be asked or written
    """
    _unless_known(run, ledger, KEPT, Kept(run.release, run.environment).dump())


def kept_plan(ledger: Ledger, release: str, environment: str) -> Kept | None:
    """The newest plan of a release that was kept; None where there is none that can be read.

    :raises LedgerUnavailable: the ledger gives no answer
    """
    found = ledger.entries(release=release, environment=environment, kinds=(KEPT,))
    return Kept.load(found[-1].payload) if found else None


def _unless_known(run: ReleaseRun, ledger: Ledger, kind: str, facts: Mapping[str, Any]) -> Entry:
    known = ledger.entries(release=run.release.version, environment=run.environment.name, kinds=(kind,))
    if known and canonical(known[-1].payload) == canonical(dict(facts)):
        return known[-1]
    return record(ledger, run, kind, facts, number=len(known) + 1)
