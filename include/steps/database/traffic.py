"""Whether users may be on a version that came after the migration: its schema is not taken away under them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from include.bluegreen.fence import LastSwitch, last_switch
from include.bluegreen.lease import LeaseState
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.backup import utc_now
from include.steps.record import CUTOVER_INTENDED, ROLLED_BACK, SWITCHED_BACK
from include.steps.run import ReleaseRun, release_id_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What the cluster says.

    :param service: the traffic Service; None when there is none
    :param lease: who holds the environment; None when nobody does, or does not say any more that they live
    """

    service: ServiceState | None
    lease: LeaseState | None


Ask = Callable[[], Seen | None]
"""Asks the cluster; None when it gives no answer."""


def nobody_asked() -> None:
    """For whoever has no cluster to ask: then the ledger alone decides."""


async def see(run: ReleaseRun, cluster: Cluster, *, now: Callable[[], datetime] = utc_now) -> Seen:
    """Look at the traffic Service and at the Lease of the environment.

    A run whose Lease has expired is about to do nothing: cleared, its cutover renews it and then looks whether the
    schema goes down.

    :raises ClusterError: the cluster gives no answer
    """
    service = await cluster.service(run.environment.traffic.service)
    lease = await cluster.lease(run.lease_terms.name)
    if lease is not None and lease.expired(now()):
        log.warning("the Lease has expired, it was %s", lease.describe())
        lease = None
    return Seen(service, lease)


def must_not_be_live(run: ReleaseRun, ledger: Ledger, began: Entry, seen: Seen | None) -> None:
    """Refuse to take the schema back while users may be on a version that was cut over after the migration.

    Whoever cuts over records it first and then looks whether the schema goes down; whoever takes it back records
    that first and then looks here: of two at once at least one sees the other.

    :param began: where the migration began
    :raises MigrationRefused: they may be
    :raises LedgerError: the ledger gives no answer
    """
    found = ledger.entries(environment=run.environment.name, kinds=(CUTOVER_INTENDED, SWITCHED_BACK, ROLLED_BACK))
    if seen is None:
        log.warning("the cluster was not asked who has the traffic: the ledger alone decides")
    if why := live_since(began, found, seen):
        raise MigrationRefused(
            "the schema is not taken back under a version that users are on",
            expected="no cutover since the migration, or one that was switched back",
            seen=why,
            remedy="return the traffic first (DAG rollback); where that run has ended without having moved it,"
            " wait until its Lease has expired; then clear way_back.state",
        )


def live_since(began: Entry, found: Iterable[Entry], seen: Seen | None) -> str:
    """Why users may be on a version that was cut over after the migration began; "" when they are not. Pure.

    Which version was live when it began plays no part: the schema goes back to what that one had.

    :param found: cutovers and switches back of the environment, of any release, oldest first
    """
    moved = last_switch(seen.service) if seen and seen.service else None
    if moved and moved.direction == "forward" and moved.at > began.at and _selected(seen, moved):
        return f"{moved.release} has the traffic since {moved.at.isoformat()}, says the traffic Service"
    for cut in _not_returned(began, tuple(found)):
        holder = release_id_of(cut)
        if not settled(holder, moved, seen):
            why = f"ledger entry {cut.sequence}: the cutover of {holder} has begun, and no switch back is known"
            return f"{why}; the environment is {seen.lease.describe()}" if seen and seen.lease else why
    return ""


def _not_returned(began: Entry, found: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The cutovers since then after which the release's traffic was not returned, as the ledger tells it."""
    backs = [entry for entry in found if entry.kind != CUTOVER_INTENDED]
    return tuple(
        cut
        for cut in found
        if cut.kind == CUTOVER_INTENDED
        and cut.sequence > began.sequence
        and not any(back.sequence > cut.sequence and back.release == cut.release for back in backs)
    )


def settled(holder: str, moved: LastSwitch | None, seen: Seen | None) -> bool:
    """Whether the cluster says that a release has no traffic and will get none, whatever the ledger lacks.

    :param holder: its release id
    :param moved: the last switch of the traffic Service
    """
    if seen is None:
        return False
    if moved and moved.release == holder:
        return moved.direction == "back" or not _selected(seen, moved)
    # It never moved the traffic, or others have since; it may be about to for as long as it holds the environment.
    return seen.lease is None or seen.lease.holder != holder


def _selected(seen: Seen | None, moved: LastSwitch) -> bool:
    return bool(seen and seen.service and moved.to in seen.service.selector.values())
