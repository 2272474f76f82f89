"""Stopping the application while its database is replaced, and taking it up again where it was not.

A stop belongs to the run that has made it. Another run goes on with it, or ends it, only when that one is over:
who still copies, or waits for an answer, must not find users on the database that it is about to replace.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from include.bluegreen.capacity import usable_endpoints
from include.clients.kubernetes import Cluster
from include.errors import LedgerError, RollbackBlocked, RollbackRefused, SlotNotReady
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.plan.slots import SLOTS
from include.steps.cleanup import until_gone
from include.steps.database.entries import RESTORE_STATED
from include.steps.record import BROUGHT_BACK, CUT_OVER, ROLLBACK_VERIFIED, record, recorded
from include.steps.rollback_choice import held
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
    STOPS,
    UNDONE,
    entries_of_release,
)

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5

Over = Callable[[str], bool]
"""Whether the run with that id does nothing about a restore any more."""


def not_known(_: str) -> bool:
    """Of no other run is it known that it is over."""
    return False


async def stop_application(
    run: ReleaseRun, cluster: Cluster, ledger: Ledger, *, over: Over = not_known
) -> dict[str, Any]:
    """Scale both slots to zero, and wait until no pod is left: nobody writes while the database is replaced.

    How large they were is in the ledger before anything is scaled. At zero, autoscalers are off.

    :return: ``needed``; and ``sizes``, slot to replicas, when it was
    :raises RollbackBlocked: another run has stopped it and goes on
    :raises RollbackRefused: another release holds the traffic by now, or the migration is undone already
    :raises SlotNotReady: pods do not end
    """
    if recorded(ledger, run, RESTORED):
        return {"needed": False, "sentence": "the database has been restored already"}
    must_not_be_undone_since(run, ledger)
    await held(run, cluster)
    began = stop_at_hand(run, ledger, over)
    if began is None or began.run_id != run.run_id:
        began = await _stopping(run, cluster, ledger, began)
    for slot in SLOTS:
        name = run.environment.slot_release(slot)
        if (deployment := await cluster.deployment(name)) and deployment.replicas:
            log.warning("scaling %s from %d to 0: its database is about to be replaced", name, deployment.replicas)
            await cluster.scale(name, 0)
    for slot in SLOTS:
        await until_gone(run, cluster, slot)
    return {"needed": True, **began.payload}


def must_not_be_undone_since(run: ReleaseRun, ledger: Ledger) -> None:
    """Refuse to restore what another run has restored, or taken back, since this one has stated what is lost.

    A yes that comes after that is one to something that is not there any more.

    :raises RollbackRefused: one has
    """
    stated = recorded(ledger, run, RESTORE_STATED)
    since = stated.sequence if stated else 0
    for done in entries_of_release(run, ledger, *UNDONE):
        if done.sequence > since and done.run_id != run.run_id:
            raise RollbackRefused(
                "there is nothing to restore any more",
                expected=f"the migration of {run.release.version} in the database, as it was stated",
                seen=f"ledger entry {done.sequence}, {done.kind} of run {done.run_id}",
                remedy="nothing; if the data are damaged again, trigger the rollback again",
            )


async def resume_application(
    run: ReleaseRun, cluster: Cluster, ledger: Ledger, *, over: Over = not_known
) -> dict[str, Any]:
    """Bring the slots back to the size that they had when they were stopped; the traffic stays where it is.

    Only for a database that was not replaced: the version that users are on belongs to it.

    :return: ``needed``; and ``sizes`` when it was
    :raises RollbackBlocked: another run has stopped it and goes on
    :raises RollbackRefused: another release holds the traffic by now
    :raises SlotNotReady: nobody takes the traffic in time
    """
    began = stop_at_hand(run, ledger, over)
    if began is None:
        last = next(reversed(entries_of_release(run, ledger, *STOPS)), None)
        if last and (last.kind, last.run_id) == (RESTORE_RESUMED, run.run_id):
            # A try that was stopped while it waited.
            await _until_users_are_served(run, cluster)
        if stands_still(run, ledger):
            return {"needed": False, "sentence": "what was stopped does not belong to the restored database"}
        return {"needed": False, "sentence": "the application is not stopped"}
    await held(run, cluster)
    sizes: dict[str, int] = dict(began.payload["sizes"])
    for slot in SLOTS:
        name = run.environment.slot_release(slot)
        deployment = await cluster.deployment(name)
        if deployment and deployment.replicas < sizes.get(slot, 0):
            log.info("scaling %s from %d to %d", name, deployment.replicas, sizes[slot])
            await cluster.scale(name, sizes[slot])
    # From here on other ways back are open again, which may be needed for somebody to be served at all.
    done = record(ledger, run, RESTORE_RESUMED, {"sizes": sizes}, number=began.sequence)
    await _until_users_are_served(run, cluster)
    return {"needed": True, **done.payload}


def open_stop(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The stop of this release's application that nothing has ended yet, whichever run began it."""
    found = entries_of_release(run, ledger, *STOPS)
    return found[-1] if found and found[-1].kind == RESTORE_STOPPED else None


def stop_at_hand(run: ReleaseRun, ledger: Ledger, over: Over) -> Entry | None:
    """The open stop that this run may go on with, or end: its own, or one whose run is over.

    :raises RollbackBlocked: another run goes on with it
    """
    stop = open_stop(run, ledger)
    if stop is None or stop.run_id == run.run_id or over(stop.run_id):
        return stop
    raise RollbackBlocked(
        f"run {stop.run_id} has stopped the application to restore the database, and is not over",
        expected="one restore at a time",
        seen=f"stopped by run {stop.run_id} at {stop.at:%Y-%m-%d %H:%M} UTC; tasks of its full restore are to run",
        remedy=f"let run {stop.run_id} go on, answer what it asks, or mark it as failed; then clear this task",
    )


def stands_still(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """What has left users without the application: an open stop, or a restore after which nobody was served.

    None where it was taken up again, brought back, cut over to, or proven after a rollback since then.
    """
    stopped: Entry | None = None
    for entry in entries_of_release(run, ledger, *STOPS, BROUGHT_BACK, ROLLBACK_VERIFIED, CUT_OVER):
        if entry.kind in (RESTORE_STOPPED, RESTORED):
            stopped = entry
        elif entry.kind == RESTORE_RESUMED or (stopped and stopped.kind == RESTORED):
            stopped = None
    return stopped


def stands_still_if_known(run: ReleaseRun, ledger: Callable[[], Ledger]) -> Entry | None:
    """The same for going back, which waits for no ledger."""
    try:
        return stands_still(run, ledger())
    except LedgerError as error:
        log.warning("whether a restore has stopped the application is not known, it is taken as not: %s", error)
        return None


async def _stopping(run: ReleaseRun, cluster: Cluster, ledger: Ledger, left: Entry | None) -> Entry:
    """Record a stop.

    :param left: what a run that is over has left behind; the sizes from before it are what to return to
    """
    sizes: dict[str, int] = dict(left.payload["sizes"]) if left else {}
    for slot in () if left else SLOTS:
        if deployment := await cluster.deployment(run.environment.slot_release(slot)):
            sizes[slot] = deployment.replicas
    number = len(ledger.entries(release=run.release.version, kinds=(RESTORE_STOPPED,))) + 1
    told = {"sizes": sizes, "left_by": left.run_id} if left else {"sizes": sizes}
    return record(ledger, run, RESTORE_STOPPED, told, number=number)


async def _until_users_are_served(run: ReleaseRun, cluster: Cluster) -> None:
    traffic, started = run.environment.traffic, time.monotonic()
    while not usable_endpoints(await cluster.endpoints(traffic.service), traffic.port):
        if (waited := time.monotonic() - started) >= run.environment.deploy_timeout_seconds:
            raise SlotNotReady(
                f"the application does not come up again within {waited:.0f} s",
                expected=f"a ready endpoint of Service {traffic.service}",
                seen="none",
                remedy="look at its pods: users are down",
            )
        await asyncio.sleep(POLL_SECONDS)
