"""Install the new version into the idle slot and wait until its pods are ready."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from include.bluegreen.capacity import required_endpoints, usable_endpoints
from include.bluegreen.decisions import Refused
from include.bluegreen.diagnosis import Course, SlotVerdict, diagnose
from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.guards import may_deploy
from include.bluegreen.recovery import recovery_action
from include.bluegreen.slots import Slot
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import check_claim
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, point_preview
from include.ledger.store import Ledger
from include.steps.decided import require_release
from include.steps.deployed import record_deployed, source_of
from include.steps.lease import holding, overridden
from include.steps.record import DEPLOYED, holder_ended, recorded, slots_of
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


async def deploy(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Deploy the release into its slot; a slot that takes traffic is never touched.

    :return: the recorded entry: ``slot``, ``helm_release``, ``revision``, ``ready``, and what it was made from
    :raises ApprovalMissing: no valid Go
    :raises LeaseError: another release has the environment
    :raises SlotNotReady: the pods do not come up, with the reason of the first pod that says one
    """
    approval = require_release(ledger, run)
    log.info("approved by %s", ", ".join(approval.people))
    _, target = slots_of(ledger, run)
    traffic = run.environment.traffic

    service = await cluster.service(traffic.service)
    done = recorded(ledger, run, DEPLOYED)
    switch = last_switch(service) if service else None
    if done and switch and switch.release == run.release_id:
        log.info("nothing to do: deployed and cut over at %s", switch.at.isoformat())
        return dict(done.payload)
    require_release(ledger, run, datetime.now(UTC))
    async with holding(run, cluster, ledger):
        return await _deploy(run, cluster, helm, ledger, service, target)


async def _deploy(
    run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger, service: ServiceState | None, target: Slot
) -> dict[str, Any]:
    traffic = run.environment.traffic
    ended = service is None or holder_ended(service, ledger) or overridden(run, ledger, release_id(service))
    decision = check_claim(service, traffic, run.release_id, holder_ended=ended)
    if isinstance(decision, Refused):
        raise decision.error()
    service = await claim(cluster, traffic, run.release_id, observed=service)
    decision = may_deploy(service, traffic, target, release_id=run.release_id)
    if isinstance(decision, Refused):
        raise decision.error()
    await point_preview(cluster, traffic, target)

    # Before helm reads the chart: what is edited meanwhile is not vouched for.
    source = source_of(run, target)
    await _recover(run, helm, target)
    await _install(run, cluster, helm, target)
    ready = await _size(run, cluster, target)
    history = await helm.history(run.environment.slot_release(target))
    payload = {
        "slot": target,
        "helm_release": run.environment.slot_release(target),
        "revision": max(entry.revision for entry in history),
        "ready": ready,
    }
    return dict(record_deployed(run, ledger, source, payload).payload)


async def _recover(run: ReleaseRun, helm: Helm, slot: Slot) -> None:
    name = run.environment.slot_release(slot)
    action = recovery_action(await helm.history(name))
    log.info("Helm release %s: %s", name, action.reason)
    if action.kind == "uninstall":
        await helm.uninstall(name)
    elif action.kind == "rollback" and action.revision is not None:
        await helm.rollback(name, action.revision)


async def _install(run: ReleaseRun, cluster: Cluster, helm: Helm, slot: Slot) -> None:
    """Run helm and look at the pods meanwhile: a wrong image or a crash loop ends the wait at once."""
    environment = run.environment
    name = environment.slot_release(slot)
    timeout = environment.deploy_timeout_seconds
    before = {pod.uid for pod in await cluster.pods(environment.traffic.selector_for(slot))}
    log.info("helm upgrade --install %s (image %s)", name, run.release.image.reference)
    course = Course()
    installing = asyncio.ensure_future(
        helm.upgrade_install(name, run.chart, run.values(slot), timeout_seconds=timeout)
    )
    try:
        while not installing.done():
            await asyncio.wait({installing}, timeout=POLL_SECONDS)
            if not installing.done():
                verdict = course.judged(await slot_verdict(run, cluster, slot, ignore=before), time.monotonic())
                if verdict.state == "failed":
                    raise await explained(verdict, run, cluster, slot)
        await installing
    finally:
        if not installing.done():
            # helm gets SIGTERM, which leaves a clean `failed` revision instead of a pending one.
            installing.cancel()
            await asyncio.wait({installing})


async def _size(run: ReleaseRun, cluster: Cluster, slot: Slot) -> int:
    """Bring the slot to the size that a cutover needs and wait until its endpoints are ready."""
    environment, traffic = run.environment, run.environment.traffic
    name = environment.slot_release(slot)
    active_ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    required = required_endpoints(environment.replicas, active_ready)
    deployment = await cluster.deployment(name)
    if deployment and deployment.replicas < required:
        # After a clean-up the slot is at zero, where its autoscaler is switched off and helm leaves it.
        log.info("scaling %s from %d to %d", name, deployment.replicas, required)
        await cluster.scale(name, required)
    started = time.monotonic()
    said, course = "", Course()
    while True:
        waited = time.monotonic() - started
        verdict = course.judged(await slot_verdict(run, cluster, slot, waited=waited), waited)
        usable = usable_endpoints(await cluster.endpoints(traffic.preview_service), traffic.port)
        if verdict.state == "ready" and usable >= required:
            log.info("%s; %d endpoint(s) of %s", verdict.sentence, usable, traffic.preview_service)
            return usable
        sentence = f"{verdict.sentence}; {usable} of {required} endpoint(s) ready"
        if sentence != said:
            log.info("%s", sentence)
            said = sentence
        if verdict.state == "failed":
            raise await explained(verdict, run, cluster, slot)
        if waited >= environment.deploy_timeout_seconds:
            late = SlotVerdict("failed", f"{slot} has too few endpoints after {waited:.0f} s: {sentence}")
            raise late.error()
        await asyncio.sleep(POLL_SECONDS)


async def slot_verdict(
    run: ReleaseRun, cluster: Cluster, slot: Slot, *, ignore: set[str] | None = None, waited: float = 0.0
) -> SlotVerdict:
    """How the slot's pods are coming up.

    :param ignore: uids of pods that were there before
    :param waited: seconds since somebody began to wait for it
    """
    deployment = await cluster.deployment(run.environment.slot_release(slot))
    return diagnose(
        await cluster.pods(run.environment.traffic.selector_for(slot)),
        deployment,
        waited_seconds=waited,
        limit_seconds=run.environment.deploy_timeout_seconds,
        ignore=ignore or (),
        template=await cluster.current_template(deployment) if deployment else None,
    )


async def explained(verdict: SlotVerdict, run: ReleaseRun, cluster: Cluster, slot: Slot) -> Exception:
    """Return the verdict's error after writing what the slot's pods last said to the log."""
    for pod in await cluster.pods(run.environment.traffic.selector_for(slot)):
        if pod.ready or pod.deleting:
            continue
        for event in (await cluster.events(pod.name))[-5:]:
            log.warning("%s: %s: %s", pod.name, event.reason, event.message)
        try:
            tail = await cluster.log_tail(pod.name, lines=15, previous=pod.restarts > 0)
        except Exception as error:  # noqa: BLE001 - a pod without a container has no log; the verdict is what counts
            log.info("%s: no log (%s)", pod.name, error)
        else:
            log.warning("%s, end of its log:\n%s", pod.name, tail)
    return verdict.error()
