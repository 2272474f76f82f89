"""Move the traffic once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from include.bluegreen.capacity import pinned_minimum, usable_endpoints
from include.bluegreen.decisions import AlreadyThere, Refused
from include.bluegreen.eligibility import WayBack, automatic_allowed
from include.bluegreen.fence import LastSwitch, last_switch
from include.bluegreen.slots import Slot
from include.bluegreen.state import HpaState
from include.bluegreen.switch import check_forward
from include.clients.kubernetes import Cluster
from include.clients.prober import ProbeResult
from include.clients.prometheus import Prometheus
from include.clients.traffic import switch
from include.errors import RolledBack, TrafficError, VerificationFailed
from include.ledger.store import Ledger
from include.plan.rules import SourceName
from include.slo.source import Source
from include.steps.arming import watch_awake
from include.steps.decided import require_release
from include.steps.lease import hold
from include.steps.observe import SwitchWitness, account, none_because, witnessed
from include.steps.planned import keep_plan
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    OBSERVED,
    VERIFIED,
    record,
    recorded,
    require,
    slots_of,
)
from include.steps.run import ReleaseRun
from include.steps.schema_proof import must_not_go_down, schema_proof
from include.steps.verify import prove_traffic
from include.watch.arming import cutover_of
from include.watch.baseline import sources_if_any, take_baselines
from include.watch.config import Baselines

log = logging.getLogger(__name__)

#: how long a watch that was awake a moment ago may take to say so again
AGAIN_SECONDS: Final = 10.0


async def cut_over(
    run: ReleaseRun,
    cluster: Cluster,
    ledger: Ledger,
    prometheus: Prometheus | None = None,
    *,
    watched: bool = True,
) -> dict[str, Any]:
    """Send the traffic to the verified slot, exactly once, and prove it.

    A prober asks the public URL from before to after it, and the metrics of the slot are read just before it: what
    was seen is recorded, and is no condition.

    :param prometheus: where rules read that do not read the pods
    :param watched: whether nothing moves before the watch has said that it is awake
    :return: ``from``, ``to``, ``at``, ``observation``, ``baselines``, and whether the watch may switch back itself
    :raises ApprovalMissing: no valid Go
    :raises LeaseError: another release has the environment
    :raises WatchAsleep: nobody would watch; nothing was moved
    :raises TrafficError: a precondition does not hold; nothing was moved
    :raises VerificationFailed: the traffic was moved, and users do not get right answers
    :raises RolledBack: the watch has switched back while this was proven
    """
    require_release(ledger, run)
    verified = require(ledger, run, VERIFIED, before="cutover")
    sources = sources_if_any(run.environment, cluster, prometheus)
    # Whoever moved the traffic before only has to prove it, whoever has the Lease and whoever watches by now.
    before = cutover_of(await cluster.service(run.environment.traffic.service), run.release_id)
    if before is None:
        require_release(ledger, run, datetime.now(UTC))
        must_not_go_down(run, ledger, verified)
        if watched:
            await watch_awake(run, ledger)
        await hold(run, cluster, ledger)
    with witnessed(run.environment) as witness:
        prepared = await _prepare(run, cluster, ledger, sources, witness)
        if before is None and watched:
            # Once more: seconds have passed, and whoever answered may be gone, or somebody has said no.
            await watch_awake(run, ledger, limit_seconds=AGAIN_SECONDS)
        return await _cut_over(run, cluster, ledger, witness, prepared)


@dataclass(frozen=True)
class _Prepared:
    """What is done and read just before the switch."""

    active_ready: int
    active_hpa: HpaState | None
    baselines: Baselines


async def _prepare(
    run: ReleaseRun,
    cluster: Cluster,
    ledger: Ledger,
    sources: Mapping[SourceName, Source],
    witness: SwitchWitness | None,
) -> _Prepared:
    source, target = slots_of(ledger, run)
    traffic = run.environment.traffic
    active_ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    hpa = await _pin(run, cluster, source, active_ready)
    return _Prepared(active_ready, hpa, await _baselines(run, sources, target, witness))


async def _cut_over(
    run: ReleaseRun,
    cluster: Cluster,
    ledger: Ledger,
    witness: SwitchWitness | None,
    prepared: _Prepared,
) -> dict[str, Any]:
    source, target = slots_of(ledger, run)
    traffic = run.environment.traffic
    service = await cluster.service(traffic.service)
    decision = check_forward(
        service,
        await cluster.service(traffic.preview_service),
        traffic,
        target,
        release_id=run.release_id,
        endpoints=await cluster.endpoints(traffic.preview_service),
        replicas=run.environment.replicas,
        active_ready=prepared.active_ready,
        active_hpa=prepared.active_hpa,
        now=datetime.now(UTC),
    )
    if isinstance(decision, Refused):
        raise decision.error()
    schema = schema_proof(run, ledger)
    way = WayBack(schema=schema, ready=prepared.active_ready, required=run.environment.replicas)
    automatic = automatic_allowed(way)
    payload: dict[str, Any] = {"from": source, "to": target, "automatic_switch_back": automatic, "schema": schema}
    if not isinstance(decision, AlreadyThere):
        payload |= prepared.baselines.dump()
    # Going forward waits for its record: without a ledger there is no cutover.
    keep_plan(run, ledger)
    intent = record(ledger, run, CUTOVER_INTENDED, payload)
    before = cutover_of(service, run.release_id)
    switched_at = before.at if before else None
    if isinstance(decision, AlreadyThere):
        log.info("%s", decision.reason)
    else:
        # Whoever takes the schema back looks for that intent: of the two at least one sees the other.
        must_not_go_down(run, ledger, require(ledger, run, VERIFIED, before="cutover"))
        switched = await switch(
            cluster,
            traffic,
            target=target,
            release_id=run.release_id,
            by=run.phase,
            reason=f"cutover of {run.release.version}",
            now=datetime.now(UTC),
        )
        switched_at = switched.at
        if switched.changed:
            # Before the proof, which may fail: then the evidence is wanted most, and no other attempt can have it.
            record(ledger, run, OBSERVED, await account(witness, to=target, at=switched.at))
    proof = await _prove(run, cluster, target)
    at = switched_at or proof.moved_at
    log.info("traffic went from %s to %s at %s", source, target, at.isoformat())
    seen = recorded(ledger, run, OBSERVED)
    observed = seen.payload if seen else none_because("nobody watched the attempt that moved the traffic")
    facts = {
        **intent.payload,
        "at": at.isoformat(),
        "checks": [result.sentence for result in proof.results],
        "observation": dict(observed),
        "sentence": observed["sentence"],
    }
    done = record(ledger, run, CUT_OVER, facts)
    if proof.back is not None:
        raise RolledBack(
            f"switched back by {proof.back.by} while the cutover was being proven",
            seen=proof.back.reason,
            remedy="read the log of the task watch and the run of DAG rollback",
        )
    return dict(done.payload)


@dataclass(frozen=True)
class _Proof:
    """What was seen after the switch.

    :param moved_at: when the Service was switched last
    :param back: the switch back that somebody has made meanwhile; nothing is proven then
    """

    results: Sequence[ProbeResult]
    moved_at: datetime
    back: LastSwitch | None = None


async def _prove(run: ReleaseRun, cluster: Cluster, target: Slot) -> _Proof:
    """Prove that users get the release, unless the watch (or a human) takes it back at the same time.

    :raises VerificationFailed: they do not, and nobody has switched back
    """
    failure: VerificationFailed | None = None
    results: Sequence[ProbeResult] = ()
    try:
        results = await prove_traffic(run, cluster, target)
    except VerificationFailed as error:
        failure = error
    done = last_switch(await cluster.service(run.environment.traffic.service) or _gone(run))
    if done is not None and (done.release, done.direction) == (run.release_id, "back"):
        return _Proof((), done.at, done)
    if failure is not None:
        raise failure
    return _Proof(results, done.at if done else datetime.now(UTC))


async def _baselines(
    run: ReleaseRun, sources: Mapping[SourceName, Source], target: Slot, witness: SwitchWitness | None
) -> Baselines:
    """Where the watch's window begins, while the prober sees its second of the time before the switch."""
    wanted = run.environment.slo.sources
    _, baselines = await asyncio.gather(
        witness.lead() if witness else asyncio.sleep(0),
        take_baselines(sources, target, time.time(), wanted=wanted),
    )
    return baselines


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


def _gone(run: ReleaseRun) -> Any:
    raise TrafficError(
        f"Service {run.environment.traffic.service} vanished after the cutover",
        expected="the traffic Service",
        remedy="recreate it with the selector of the slot that is to take traffic",
    )
