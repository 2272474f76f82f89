"""Whether it is a run's turn to change the schema: no release has the environment, no watch may switch back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from include.bluegreen.fence import last_switch
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.traffic import Seen, settled
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    RELEASED,
    ROLLED_BACK,
    SWITCHED_BACK,
    WATCH_ARMED,
    WATCH_PASSED,
)
from include.steps.run import ReleaseRun, release_id_of

log = logging.getLogger(__name__)


def must_be_its_turn(run: ReleaseRun, ledger: Ledger, seen: Seen | None, now: datetime) -> None:
    """Refuse to change the schema while a release has the environment, or may leave it by itself.

    What may be switched back to by a watch was decided before its cutover, by the schema of that moment. Whoever
    cuts over records it first and then looks whether the schema was changed; whoever migrates records that first
    and then looks here: of two at once at least one sees the other.

    :param seen: what the cluster says; None when it gives no answer: then the ledger alone decides
    :raises MigrationRefused: it is not the run's turn
    :raises LedgerError: the ledger gives no answer
    """
    if seen is None:
        log.warning("the cluster was not asked who has the environment: the ledger alone decides")
    elif seen.lease and seen.lease.expired(now):
        # Its holder looks for what is recorded here before it moves anything.
        seen = replace(seen, lease=None)
    elif seen.lease and seen.lease.holder not in (None, run.release_id):
        raise _not_yet(f"it is {seen.lease.describe()}")
    kinds = (CUTOVER_INTENDED, CUT_OVER, WATCH_ARMED, WATCH_PASSED, RELEASED, SWITCHED_BACK, ROLLED_BACK)
    if cut := watched(ledger.entries(environment=run.environment.name, kinds=kinds), seen):
        holder = f"{cut.release}, run {cut.run_id}"
        raise _not_yet(f"the watch of {holder} may switch back by itself: ledger entry {cut.sequence}")


def watched(found: Iterable[Entry], seen: Seen | None) -> Entry | None:
    """The cutover whose watch may switch back by itself; None where no watch may. Pure.

    :param found: what was recorded of cutovers, their watches and their ends in the environment, oldest first
    """
    armed: set[tuple[str, str]] = set()
    cut: Entry | None = None
    for entry in found:
        whose = (entry.release, entry.run_id)
        if entry.kind == WATCH_ARMED:
            armed.add(whose)
        elif entry.kind == CUTOVER_INTENDED:
            cut = entry if entry.payload.get("automatic_switch_back") and whose in armed else cut
        elif cut and _over(cut, entry):
            cut = None
    moved = last_switch(seen.service) if seen and seen.service else None
    return None if cut and settled(release_id_of(cut), moved, seen) else cut


def _over(cut: Entry, entry: Entry) -> bool:
    """Whether an entry says that nobody switches back from this cutover by himself any more."""
    ours = (entry.release, entry.run_id) == (cut.release, cut.run_id)
    if entry.kind in (WATCH_PASSED, RELEASED):
        return ours
    if entry.kind == CUT_OVER:
        return not ours
    return entry.release == cut.release


def _not_yet(seen: str) -> MigrationRefused:
    return MigrationRefused(
        "the schema is not changed under a release that is under way",
        expected="an environment that no release holds",
        seen=seen,
        remedy="let that release end, or roll it back; then clear this task",
    )
