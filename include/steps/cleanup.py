"""Retire the old slot once nobody needs it any more."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from include.bluegreen.decisions import Permitted, Refused
from include.bluegreen.guards import Lingering, may_clean_up, may_retire
from include.bluegreen.slots import Slot
from include.bluegreen.state import PodState
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.openmetrics import parse
from include.errors import SlotNotReady, StellwerkError
from include.ledger.store import Ledger
from include.slo.samples import PodSample, Snapshot
from include.slo.window import window_stats
from include.steps.decided import require_release
from include.steps.lease import holding
from include.steps.legacy import end_adoption, remove_legacy
from include.steps.record import CLEANED_UP, WATCH_PASSED, record, recorded, slots_of
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

SAMPLE_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 15.0


async def clean_up(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Scale the old slot to zero (its autoscaler is then off), or uninstall it where the policy says so.

    An adopted installation is deleted, whatever the policy: no later release goes into its Deployment. It finishes
    what was cut over by a Go that was young enough then; how old that is after a watch which people have made
    longer plays no part.

    :return: the recorded entry: ``slot``, ``policy``, ``helm_release`` (or ``deployment``, an adopted one) and
        ``lingering``, what still reached it
    :raises ApprovalMissing: no valid Go
    :raises LeaseError: another release has the environment
    :raises TrafficError: the watch has not passed, or the slot takes traffic
    """
    require_release(ledger, run)
    source, _ = slots_of(ledger, run)
    name, legacy = run.environment.slot_release(source), run.environment.traffic.legacy
    legacy = legacy if legacy and legacy.slot == source else None
    async with holding(run, cluster, ledger):
        await _permitted(run, cluster, ledger, source)
        lingering = await _until_quiet(run, cluster, source)
        if legacy:
            await remove_legacy(run, cluster, ledger, legacy)
        else:
            await _retire(run, cluster, helm, source)
        await until_gone(run, cluster, source)
        what = (
            {"policy": "delete", "deployment": name}
            if legacy
            else {"policy": run.environment.cleanup, "helm_release": name}
        )
        payload = {"slot": source, **what, "lingering": lingering.sentence}
        done = record(ledger, run, CLEANED_UP, payload)
        if legacy:
            await end_adoption(cluster, run.environment.traffic.service, legacy)
    return dict(done.payload)


async def _permitted(run: ReleaseRun, cluster: Cluster, ledger: Ledger, slot: Slot) -> None:
    traffic = run.environment.traffic
    decision = may_clean_up(
        await cluster.service(traffic.service),
        traffic,
        slot,
        release_id=run.release_id,
        watch_passed=recorded(ledger, run, WATCH_PASSED) is not None,
    )
    if isinstance(decision, Refused):
        raise decision.error()


async def _until_quiet(run: ReleaseRun, cluster: Cluster, slot: Slot) -> Lingering:
    """Look until nobody reaches the slot any more.

    :raises TrafficError: somebody still does, or nobody can tell
    """
    started = time.monotonic()
    while True:
        lingering = await observe_lingering(run, cluster, slot)
        decision = may_retire(lingering, slot, run.environment.drain)
        if not isinstance(decision, Refused):
            if isinstance(decision, Permitted) and decision.warning:
                log.warning("%s", decision.warning)
            return lingering
        if time.monotonic() - started >= PATIENCE_SECONDS:
            raise decision.error()
        log.info("not yet: %s", lingering.sentence)


async def observe_lingering(
    run: ReleaseRun, cluster: Cluster, slot: Slot, *, seconds: float = SAMPLE_SECONDS
) -> Lingering:
    """Watch the request counters of a slot's ready pods for some seconds."""
    traffic = run.environment.traffic
    found = await cluster.pods(traffic.selector_for(slot))
    pods = [pod for pod in found if pod.ready and not pod.deleting]
    endpoints = await cluster.endpoints(traffic.service)
    uids = {pod.uid for pod in found}
    behind = tuple(one.pod for one in endpoints if one.pod_uid in uids)
    if not pods:
        return Lingering(behind)
    # The slots run the same chart: what the active one serves on, this one does.
    port = next((one.ports[traffic.port] for one in endpoints if traffic.port in one.ports), None)
    first, _ = await _sample(run, cluster, pods, slot, port)
    await asyncio.sleep(seconds)
    last, errors = await _sample(run, cluster, pods, slot, port)
    stats = window_stats((first, last))
    return Lingering(behind, stats.requests, stats.sse_connections or 0, last.taken_at - first.taken_at, errors)


async def _sample(
    run: ReleaseRun, cluster: Cluster, pods: list[PodState], slot: Slot, port: int | None
) -> tuple[Snapshot, tuple[str, ...]]:
    traffic, now = run.environment.traffic, time.time()

    async def read(pod: PodState) -> PodSample | str:
        try:
            text = await cluster.pod_get(pod.name, traffic.metrics_path, port=port)
            return parse(
                text,
                pod=pod.name,
                pod_uid=pod.uid,
                taken_at=now,
                health_paths=traffic.health_paths,
                names=run.environment.slo.metrics,
            )
        except StellwerkError as error:
            return str(error)

    answers = await asyncio.gather(*(read(pod) for pod in pods))
    samples = tuple(answer for answer in answers if isinstance(answer, PodSample))
    errors = tuple(answer for answer in answers if isinstance(answer, str))
    return Snapshot(taken_at=now, slot=slot, pods=samples), errors


async def _retire(run: ReleaseRun, cluster: Cluster, helm: Helm, slot: Slot) -> None:
    name = run.environment.slot_release(slot)
    if run.environment.cleanup == "uninstall":
        log.info("helm uninstall %s", name)
        await helm.uninstall(name)
    elif (deployment := await cluster.deployment(name)) and deployment.replicas:
        log.info("scaling %s from %d to 0; its Helm release and history stay", name, deployment.replicas)
        await cluster.scale(name, 0)


async def until_gone(run: ReleaseRun, cluster: Cluster, slot: Slot) -> None:
    """Wait until no pod of the slot is left.

    :raises SlotNotReady: pods do not end
    """
    labels = run.environment.traffic.selector_for(slot)
    started = time.monotonic()
    while left := await cluster.pods(labels):
        if time.monotonic() - started >= run.environment.deploy_timeout_seconds:
            raise SlotNotReady(
                f"pods of {slot} do not end",
                expected="no pod",
                seen=", ".join(pod.name for pod in left),
                remedy="see why they do not terminate",
            )
        await asyncio.sleep(0.5)
    log.info("no pod of %s is left", slot)
