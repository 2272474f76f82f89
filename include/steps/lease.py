"""Hold the environment while a release goes forward (DESIGN, invariants 8 and 11; docs/adr/0007).

Preflight takes the Lease, each acting step makes sure of it and renews it while it runs, the last task gives it
up. Nothing that switches back asks for it: the watch renews it beside its work and ``rollback`` only gives it up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from include.bluegreen.fence import release_id as holder_of
from include.bluegreen.lease import (
    RENEW_SECONDS,
    Acquire,
    Decision,
    HeldByOther,
    LeaseState,
    TakeOver,
    Terms,
    account_of,
    acquired,
    decide,
    lease_seconds,
    renewed,
    taken_over,
    taken_over_account,
)
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import ClusterError, LeaseLost, PatchRefused, StellwerkError
from include.ledger.store import Ledger
from include.steps.record import LEASE_TAKEN_OVER, LEASE_TAKEOVER_INTENDED, holder_ended, record
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

ATTEMPTS: Final = 6
_RETRY_SECONDS: Final = 2.0


async def look(run: ReleaseRun, cluster: Cluster) -> None:
    """Refuse a release at once that could not have the environment; nothing is written.

    :raises EnvironmentHeld: another release holds it
    """
    decision = _decide(run, await cluster.lease(run.lease_terms.name), datetime.now(UTC), take_over=True)
    if isinstance(decision, HeldByOther):
        raise decision.error()


async def hold(
    run: ReleaseRun, cluster: Cluster, ledger: Ledger, *, take_over: bool = False, seconds: float = 0.0
) -> LeaseState:
    """Hold the environment from now on, or find out who does.

    :param take_over: the run begins, and may take over what has expired or what its ``override_reason`` is about
    :param seconds: how long at least nobody may renew it
    :raises EnvironmentHeld: another release holds it
    :raises LeaseLost: it was taken over from this release before
    :raises PatchRefused: the Lease never held still
    """
    _refuse_superseded(run, ledger)
    terms = run.lease_terms
    terms = replace(terms, duration_seconds=max(terms.duration_seconds, lease_seconds(seconds)))
    failure: PatchRefused | None = None
    for _ in range(ATTEMPTS):
        now = datetime.now(UTC)
        observed = await cluster.lease(terms.name)
        decision = _decide(run, observed, now, take_over=take_over)
        if isinstance(decision, HeldByOther):
            raise decision.error()
        if isinstance(decision, TakeOver) and observed is not None:
            _record(ledger, run, LEASE_TAKEOVER_INTENDED, taken_over_account(observed, decision))
        try:
            lease = await _write(cluster, observed, decision, terms, now)
        except PatchRefused as error:
            failure = error
            continue
        if account := account_of(lease):
            _record(ledger, run, LEASE_TAKEN_OVER, account)
        log.info("Lease %s is %s", lease.name, lease.describe())
        return lease
    assert failure is not None, "every attempt that neither returned nor raised has failed"
    raise failure


@asynccontextmanager
async def holding(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> AsyncIterator[None]:
    """Hold the environment while a step runs.

    :raises EnvironmentHeld: another release holds it; the step has not begun
    :raises LeaseLost: it was taken over; the step was cancelled
    """
    lease = await hold(run, cluster, ledger)
    async with renewing(lease, run.lease_terms, cluster):
        yield


@asynccontextmanager
async def renewing(
    lease: LeaseState, terms: Terms, cluster: Cluster, *, every_seconds: float = RENEW_SECONDS
) -> AsyncIterator[None]:
    """Renew the Lease while the block runs; the block is cancelled when it is lost.

    :raises LeaseLost: another release has it, somebody deleted it, or it expired because the API gave no answer
    """
    step = asyncio.current_task()
    assert step is not None, "a coroutine runs in a task"
    lost: list[LeaseLost] = []

    async def renew() -> None:
        try:
            await _renew_until_lost(lease, terms, cluster, every_seconds)
        except LeaseLost as error:
            lost.append(error)
            step.cancel()

    renewal = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if lost and step.uncancel() == 0:
            raise lost[0] from None
        raise
    finally:
        renewal.cancel()
        await asyncio.wait({renewal})


@asynccontextmanager
async def renewed_beside(
    terms: Terms, cluster: Cluster, *, every_seconds: float = RENEW_SECONDS
) -> AsyncIterator[None]:
    """Renew the Lease beside a block that nothing may stop: the watch. What goes wrong is logged, once each time.

    A Lease that is gone is taken again while the environment is free; one of another release is left alone.
    """

    async def renew() -> None:
        said = ""
        kept: LeaseState | None = None
        observed: LeaseState | None = None
        # After a restart hundreds may begin at once: from the second time on each has its own moment.
        pause = every_seconds * random.uniform(0.1, 1.0)  # noqa: S311 - no secret
        while True:
            sentence = ""
            try:
                # What was written last is what is there, or the server refuses to replace it.
                kept, observed = observed, observed or await cluster.lease(terms.name)
                now = datetime.now(UTC)
                decision = decide(observed, terms.release_id, now=now)
                if isinstance(decision, HeldByOther):
                    observed = None
                    sentence = f"the environment is {decision.lease.describe()}; the watch goes on all the same"
                else:
                    observed = await _write(cluster, observed, decision, terms, now)
            except StellwerkError as error:
                observed = None
                if kept and isinstance(error, PatchRefused):
                    kept = None
                    continue  # somebody changed it meanwhile: read it
                sentence = f"the Lease could not be renewed: {error}"
            if sentence and sentence != said:
                log.warning("%s", sentence)
            said = sentence
            await asyncio.sleep(pause)
            pause = every_seconds

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewal.cancel()
        await asyncio.wait({renewal})


async def release_lease(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Give the environment free for the next release, unless the traffic is on this one and nobody has proven it.

    :return: ``released`` and ``reason``
    """
    terms = run.lease_terms
    lease = await cluster.lease(terms.name)
    if lease is None or lease.holder != run.release_id:
        reason = "this release does not hold the environment" if lease is None else f"it is {lease.describe()}"
        log.info("nothing to give up: %s", reason)
        return {"released": False, "reason": reason}
    service = await cluster.service(run.environment.traffic.service)
    if why := _still_in_hands(run, service, ledger):
        reason = (
            f"{why}: the environment stays in its hands, {lease.describe()}. "
            "Clear `watch` to watch for another window, or trigger DAG rollback"
        )
        log.warning("%s", reason)
        return {"released": False, "reason": reason}
    await give_up(cluster, terms.name, run.release_id)
    reason = f"{run.environment.name} is free for the next release"
    log.info("%s", reason)
    return {"released": True, "reason": reason}


def _still_in_hands(run: ReleaseRun, service: ServiceState | None, ledger: Ledger) -> str:
    if service is None:
        return f"the traffic Service is gone, nobody knows where {run.release.version} stands"
    if holder_of(service) != run.release_id or holder_ended(service, ledger):
        return ""
    return f"the traffic is on {run.release.version}, which nobody has proven"


async def give_up(cluster: Cluster, name: str, release_id: str) -> None:
    """Delete the Lease if it is still held by ``release_id``; what anybody else holds stays.

    :raises PatchRefused: the Lease never held still
    """
    failure: PatchRefused | None = None
    for _ in range(ATTEMPTS):
        lease = await cluster.lease(name)
        if lease is None or lease.holder != release_id:
            return
        try:
            await cluster.delete_lease(lease)
        except PatchRefused as error:
            failure = error
        else:
            return
    assert failure is not None, "every attempt that neither returned nor raised has failed"
    raise failure


def override_claim(run: ReleaseRun, ledger: Ledger, holder: str) -> None:
    """Record that a human lets this run take the traffic Service from a release that has not ended."""
    account = {"from": holder, "because": "override", "reason": run.override_reason}
    _record(ledger, run, LEASE_TAKEN_OVER, account)


def overridden(run: ReleaseRun, ledger: Ledger, holder: str | None) -> bool:
    """Whether this run has taken the environment over from ``holder`` because a human said so."""
    return any(
        entry.run_id == run.run_id
        and (entry.payload.get("from"), entry.payload.get("because")) == (holder, "override")
        for entry in ledger.entries(environment=run.environment.name, kinds=(LEASE_TAKEN_OVER,))
    )


def _decide(run: ReleaseRun, lease: LeaseState | None, now: datetime, *, take_over: bool) -> Decision:
    return decide(lease, run.release_id, now=now, may_take_over=take_over, override_reason=run.override_reason)


async def _write(
    cluster: Cluster, observed: LeaseState | None, decision: Decision, terms: Terms, now: datetime
) -> LeaseState:
    if observed is None:
        return await cluster.create_lease(acquired(None, terms, now))
    if isinstance(decision, TakeOver):
        return await cluster.replace_lease(taken_over(observed, decision, terms, now))
    if isinstance(decision, Acquire):
        return await cluster.replace_lease(acquired(observed, terms, now))
    return await cluster.replace_lease(renewed(observed, terms, now))


async def _renew_until_lost(lease: LeaseState, terms: Terms, cluster: Cluster, every_seconds: float) -> None:
    pause = every_seconds
    while True:
        await asyncio.sleep(pause)
        now = datetime.now(UTC)
        try:
            observed = await cluster.lease(terms.name)
            if observed is None or observed.holder != terms.release_id:
                raise _lost(terms, observed)
            lease = await cluster.replace_lease(renewed(observed, terms, now))
            pause = every_seconds
        except ClusterError as error:
            log.warning("Lease %s could not be renewed yet: %s", terms.name, error)
            pause = min(every_seconds, _RETRY_SECONDS)
            if lease.expired(now):
                raise _lost(terms, lease) from error


def _lost(terms: Terms, seen: LeaseState | None) -> LeaseLost:
    return LeaseLost(
        "this release no longer holds the environment: the step was stopped",
        expected=f"Lease {terms.name} held by {terms.release_id}",
        seen=seen.describe() if seen else "no Lease: somebody deleted it",
        remedy="users are where the traffic Service says; clear this task to go on once nobody else holds it",
    )


def _refuse_superseded(run: ReleaseRun, ledger: Ledger) -> None:
    for entry in ledger.entries(environment=run.environment.name, kinds=(LEASE_TAKEN_OVER,)):
        if entry.payload.get("from") == run.release_id:
            raise LeaseLost(
                "the environment was taken over from this run: it goes no further",
                expected=f"the environment in the hands of run {run.run_id}",
                seen=f"taken over by release {entry.release}, run {entry.run_id}: {entry.payload.get('reason')}",
                remedy="start a new run; switching back is possible at any time (DAG rollback)",
            )


def _record(ledger: Ledger, run: ReleaseRun, kind: str, account: Mapping[str, Any]) -> None:
    record(ledger, run, kind, account, actor=run.triggered_by or "scheduler", number=str(account["from"]))
