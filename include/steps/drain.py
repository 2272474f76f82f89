"""Move the connections that stayed open on the slot that was left, and measure until nobody is there any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from include.bluegreen.decisions import Refused
from include.bluegreen.guards import may_drain
from include.bluegreen.slots import Slot, other
from include.bluegreen.switch import SETTLE_SECONDS
from include.clients.kubernetes import Cluster
from include.clients.openmetrics import snapshot
from include.errors import SlotNotReady
from include.ledger.store import Ledger
from include.plan.models import Environment
from include.slo.draining import DrainPoint, Look, last_point
from include.steps.lease import holding
from include.steps.record import CUT_OVER, DRAINED, record, require, slots_of
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 15.0
_MOST_POINTS: Final = 60


@dataclass(frozen=True)
class LeftSlot:
    """A slot that takes no traffic any more.

    :param release_id: the release that moved the traffic away from it
    :param at: when
    """

    environment: Environment
    slot: Slot
    release_id: str
    at: datetime

    @property
    def name(self) -> str:
        """Of its Deployment."""
        return self.environment.slot_release(self.slot)


async def drain_left_slot(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Restart the pods of the slot that was left, so that lingering connections reconnect to the new one.

    :return: the recorded entry: ``slot``, ``policy``, ``seconds``, ``verdict``, ``points``, ``sentence``
    :raises LeaseError: another release has the environment
    :raises SlotNotReady: the restarted pods do not come up; that slot is the way back
    """
    at = datetime.fromisoformat(require(ledger, run, CUT_OVER, before="draining").payload["at"])
    source, _ = slots_of(ledger, run)
    left = LeftSlot(run.environment, source, run.release_id, at)
    async with holding(run, cluster, ledger):
        facts = await drained(left, cluster, limit_seconds=run.environment.deploy_timeout_seconds)
    return dict(record(ledger, run, DRAINED, facts).payload)


async def drained(
    left: LeftSlot, cluster: Cluster, *, limit_seconds: float, must_come_back: bool = True
) -> dict[str, Any]:
    """Drain a slot by the environment's policy and measure who is still on it.

    It has ended when every pod is new and no request reached the slot in the last sample. Where somebody still
    does after 15 s, or the metrics do not tell, the verdict says so: no connection can be older than the pods.

    :param limit_seconds: for the pods to be replaced
    :param must_come_back: whether pods that do not come up are an error; of a faulty version they are expected
    :return: ``slot``, ``policy``, ``sentence`` and, unless the policy is to leave them, the measurement
    :raises TrafficError: the slot takes traffic
    :raises SlotNotReady: its pods do not come up in time
    """
    facts: dict[str, Any] = {"slot": left.slot, "policy": left.environment.drain}
    if left.environment.drain == "leave":
        sentence = "connections stay where they are: the environment's policy is `leave`"
        log.info("%s", sentence)
        return {**facts, "sentence": sentence}
    async with _measured(left, cluster) as measured:
        try:
            seconds = await restart_slot(left, cluster, limit_seconds=limit_seconds)
        except SlotNotReady as error:
            if must_come_back:
                raise
            replaced = str(error)
        else:
            replaced = f"every pod of {left.slot} was replaced within {seconds:.1f} s"
            facts["seconds"] = round(seconds, 1)
            await _until_silent(measured, since=time.time())
    verdict = measured.points[-1].verdict if measured.points else "UNKNOWN"
    words = measured.points[-1].sentence if measured.points else "nothing was measured"
    sentence = f"{verdict}: {replaced}; {words}"
    log.log(logging.INFO if verdict == "DRAINED" else logging.WARNING, "%s", sentence)
    return {**facts, "verdict": verdict, **measured.payload(), "sentence": sentence}


async def restart_slot(left: LeftSlot, cluster: Cluster, *, limit_seconds: float) -> float:
    """Restart the slot, once for its ``at``, and wait until all its pods are new and ready.

    :return: seconds it took
    :raises TrafficError: the slot takes traffic
    :raises SlotNotReady: it did not come up in time
    """
    traffic = left.environment.traffic
    await asyncio.sleep(max(0.0, SETTLE_SECONDS - (datetime.now(UTC) - left.at).total_seconds()))
    service = await cluster.service(traffic.service)
    decision = may_drain(service, traffic, left.slot, release_id=left.release_id, now=datetime.now(UTC))
    if isinstance(decision, Refused):
        raise decision.error()
    started = time.monotonic()
    await cluster.restart_deployment(left.name, left.at)
    while True:
        old = await cluster.pods_not_restarted(traffic.selector_for(left.slot), left.at)
        deployment = await cluster.deployment(left.name)
        waited = time.monotonic() - started
        if not old and deployment and deployment.ready >= deployment.replicas:
            return waited
        if waited >= limit_seconds:
            raise SlotNotReady(
                f"{left.slot} did not come back after its restart",
                expected="all pods replaced and ready",
                seen=f"{len(old)} old pod(s) left, {deployment.ready if deployment else 0} ready",
                remedy=f"look at the pods of {left.name}: open connections stay on those that were not replaced",
            )
        await asyncio.sleep(0.5)


@dataclass
class _Measurement:
    """What the sampler has seen so far."""

    looks: list[Look] = field(default_factory=list)
    points: list[DrainPoint] = field(default_factory=list)

    def payload(self) -> dict[str, Any]:
        """Plain JSON of bounded size; the middle is left out when it is long."""
        kept = self.points
        if len(kept) > _MOST_POINTS:
            kept = kept[: _MOST_POINTS // 2] + kept[-_MOST_POINTS // 2 :]
        shown = [
            [p.seconds, p.left, p.active, None if p.share is None else round(p.share, 4), p.streams] for p in kept
        ]
        return {"points": shown, "points_total": len(self.points)}


@asynccontextmanager
async def _measured(left: LeftSlot, cluster: Cluster) -> AsyncIterator[_Measurement]:
    """Look at both slots every second while in this context."""
    measured = _Measurement()
    sampler = asyncio.create_task(_sample(left, cluster, measured))
    try:
        yield measured
    finally:
        sampler.cancel()
        await asyncio.wait({sampler})
        if not sampler.cancelled() and (error := sampler.exception()):
            log.warning("the measurement failed: %s", error)


async def _sample(left: LeftSlot, cluster: Cluster, measured: _Measurement) -> None:
    traffic, names = left.environment.traffic, left.environment.slo.metrics
    while True:
        now = time.time()
        pair = await asyncio.gather(
            snapshot(cluster, traffic, left.slot, now, names=names),
            snapshot(cluster, traffic, other(left.slot), now, names=names),
        )
        measured.looks.append(Look(*pair))
        if len(measured.looks) > 1:
            point = last_point(measured.looks, switched_at=left.at.timestamp())
            measured.points.append(point)
            log.info("%s", point.sentence)
        await asyncio.sleep(max(0.0, now + EVERY_SECONDS - time.time()))


async def _until_silent(measured: _Measurement, *, since: float) -> None:
    """Wait for a look that found nobody on the slot, for 15 s at most.

    :param since: when all pods were new, in seconds since the epoch
    """
    while time.time() - since < SILENCE_SECONDS:
        new = measured.points and measured.looks[-1].left.taken_at >= since
        if new and measured.points[-1].verdict == "DRAINED":
            return
        await asyncio.sleep(0.2)
