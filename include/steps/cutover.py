"""Move the traffic once, and then the connections that stayed behind."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from include.bluegreen.capacity import pinned_minimum, usable_endpoints
from include.bluegreen.decisions import AlreadyThere, Refused
from include.bluegreen.eligibility import WayBack, automatic_allowed
from include.bluegreen.fence import last_switch
from include.bluegreen.guards import may_drain
from include.bluegreen.slots import Slot
from include.bluegreen.state import HpaState
from include.bluegreen.switch import SETTLE_SECONDS, check_forward
from include.clients.kubernetes import Cluster
from include.clients.traffic import switch
from include.errors import SlotNotReady, TrafficError
from include.ledger.store import Ledger
from include.steps.lease import hold, holding
from include.steps.record import CUT_OVER, DRAINED, VERIFIED, record, require, require_approval, slots_of
from include.steps.run import ReleaseRun
from include.steps.verify import prove_traffic

log = logging.getLogger(__name__)


async def cut_over(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Send the traffic to the verified slot, exactly once, and prove it.

    :return: ``from``, ``to``, ``at`` and whether the watch may switch back by itself
    :raises ApprovalMissing: no valid Go
    :raises LeaseError: another release has the environment
    :raises TrafficError: a precondition does not hold; nothing was moved
    """
    require_approval(ledger, run)
    require(ledger, run, VERIFIED, before="cutover")
    source, target = slots_of(ledger, run)
    traffic = run.environment.traffic

    if not await _is_cut_over(run, cluster):
        await hold(run, cluster, ledger)
    active_ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    hpa = await _pin(run, cluster, source, active_ready)
    service = await cluster.service(traffic.service)
    decision = check_forward(
        service,
        await cluster.service(traffic.preview_service),
        traffic,
        target,
        release_id=run.release_id,
        endpoints=await cluster.endpoints(traffic.preview_service),
        replicas=run.environment.replicas,
        active_ready=active_ready,
        active_hpa=hpa,
        now=datetime.now(UTC),
    )
    if isinstance(decision, Refused):
        raise decision.error()
    way = WayBack(schema="unchanged", ready=active_ready, required=run.environment.replicas)
    payload: dict[str, Any] = {"from": source, "to": target, "automatic_switch_back": automatic_allowed(way)}
    # Going forward waits for its record: without a ledger there is no cutover.
    intent = record(ledger, run, "cutover.intended", payload)
    if isinstance(decision, AlreadyThere):
        log.info("%s", decision.reason)
    else:
        await switch(
            cluster,
            traffic,
            target=target,
            release_id=run.release_id,
            by=run.phase,
            reason=f"cutover of {run.release.version}",
            now=datetime.now(UTC),
        )
    results = await prove_traffic(run, cluster, target)
    done = last_switch(await cluster.service(traffic.service) or _gone(run))
    at = (done.at if done else datetime.now(UTC)).isoformat()
    log.info("traffic went from %s to %s at %s", source, target, at)
    facts = {**intent.payload, "at": at, "checks": [result.sentence for result in results]}
    return dict(record(ledger, run, CUT_OVER, facts).payload)


async def _is_cut_over(run: ReleaseRun, cluster: Cluster) -> bool:
    """Whether this release moved the traffic before: what is left is to prove it, whoever has the Lease by now.

    Nor is the Lease watched while the traffic moves: a cutover that is broken off has no watch behind it.
    """
    service = await cluster.service(run.environment.traffic.service)
    moved = last_switch(service) if service else None
    return moved is not None and moved.release == run.release_id


async def _pin(run: ReleaseRun, cluster: Cluster, source: Slot, ready: int) -> HpaState | None:
    """Keep the slot that will be left at its size: idle, its autoscaler would shrink it."""
    name = run.environment.slot_release(source)
    for hpa in await cluster.hpas():
        if hpa.target != name:
            continue
        minimum = pinned_minimum(hpa, ready)
        if hpa.min_replicas < minimum:
            log.info("pinning %s at %d pods (autoscaler minimum was %d)", name, minimum, hpa.min_replicas)
            return await cluster.set_hpa_minimum(hpa.name, minimum)
        return hpa
    return None


async def drain_left_slot(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Restart the pods of the slot that was left, so that lingering connections reconnect to the new one.

    :raises LeaseError: another release has the environment
    :raises SlotNotReady: the restarted pods do not come up; that slot is the way back
    """
    at = datetime.fromisoformat(require(ledger, run, CUT_OVER, before="draining").payload["at"])
    source, _ = slots_of(ledger, run)
    if run.environment.drain == "leave":
        log.info("connections stay where they are: the environment's policy is `leave`")
        return dict(record(ledger, run, DRAINED, {"slot": source, "policy": "leave"}).payload)
    async with holding(run, cluster, ledger):
        seconds = await restart_slot(run, cluster, source, at)
    payload = {"slot": source, "policy": "restart", "seconds": round(seconds, 1)}
    return dict(record(ledger, run, DRAINED, payload).payload)


async def restart_slot(run: ReleaseRun, cluster: Cluster, slot: Slot, at: datetime) -> float:
    """Restart a slot that takes no traffic, once per ``at``, and wait until all its pods are new and ready.

    :return: seconds it took
    :raises TrafficError: the slot takes traffic
    :raises SlotNotReady: it did not come up in time
    """
    environment, traffic = run.environment, run.environment.traffic
    name = environment.slot_release(slot)
    await asyncio.sleep(max(0.0, SETTLE_SECONDS - (datetime.now(UTC) - at).total_seconds()))
    service = await cluster.service(traffic.service)
    decision = may_drain(service, traffic, slot, release_id=run.release_id, now=datetime.now(UTC))
    if isinstance(decision, Refused):
        raise decision.error()
    started = time.monotonic()
    await cluster.restart_deployment(name, at)
    while True:
        left = await cluster.pods_not_restarted(traffic.selector_for(slot), at)
        deployment = await cluster.deployment(name)
        waited = time.monotonic() - started
        if not left and deployment and deployment.ready >= deployment.replicas:
            log.info("drained: every pod of %s was replaced within %.1f s", slot, waited)
            return waited
        if waited >= environment.deploy_timeout_seconds:
            raise SlotNotReady(
                f"{slot} did not come back after its restart",
                expected="all pods replaced and ready",
                seen=f"{len(left)} old pod(s) left, {deployment.ready if deployment else 0} ready",
                remedy=f"look at the pods of {name}: it is the way back",
            )
        await asyncio.sleep(0.5)


def _gone(run: ReleaseRun) -> Any:
    raise TrafficError(
        f"Service {run.environment.traffic.service} vanished after the cutover",
        expected="the traffic Service",
        remedy="recreate it with the selector of the slot that is to take traffic",
    )
