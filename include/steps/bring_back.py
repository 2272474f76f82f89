"""Bringing the old version back into the slot users are not on, so that the traffic can return to it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from include.bluegreen.candidate import brought_back
from include.bluegreen.capacity import pinned_minimum, required_endpoints, usable_endpoints
from include.bluegreen.diagnosis import Course
from include.bluegreen.eligibility import Candidate, SchemaProof
from include.bluegreen.slots import Slot
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import point_preview
from include.errors import ClusterRefused, HelmPending, SlotNotReady
from include.steps.deploy import explained, slot_verdict
from include.steps.rollback_choice import Held, assess, held
from include.steps.run import ReleaseRun
from include.steps.verify import prove

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
CONFLICT: Final = 409


@dataclass(frozen=True)
class _Slot:
    """The slot that is brought back, and what into it."""

    run: ReleaseRun
    cluster: Cluster
    slot: Slot
    found: Held
    candidate: Candidate

    @property
    def name(self) -> str:
        return self.run.environment.slot_release(self.slot)


async def bring_back(
    run: ReleaseRun,
    cluster: Cluster,
    helm: Helm | None,
    schema: SchemaProof,
    wanted: str,
    *,
    was_stopped: bool = False,
) -> dict[str, Any]:
    """Bring the old version back where that is needed, and prove it through the preview Service.

    Nothing is done where users are on the old slot already, or where its pods are there after all.

    :param was_stopped: the application was stopped, so being on a slot says nothing about its pods
    :return: ``slot``, ``needed``, ``sentence``; and ``helm_release``, ``revision``, ``ready``, ``required`` and
        ``checks`` when it was needed
    :raises RollbackRefused: nothing to roll back, or no such option
    :raises RollbackBlocked: another option would do
    :raises NotEnoughEndpoints: nothing could be brought back
    :raises SlotNotReady: no pod came up, with the reason of the first that says one
    :raises VerificationFailed: it came up and does not answer as it should; the traffic was not moved
    """
    found = await held(run, cluster)
    slot = found.old_slot
    back_already = found.moved.direction == "back" or found.by_hand(run.environment.traffic)
    if back_already and not was_stopped:
        return _nothing(slot, f"the traffic is on {slot} already")
    situation = await assess(run, cluster, helm, schema, found)
    option = situation.choose(wanted)
    if option.name != "helm-rollback":
        return _nothing(slot, f"{option.name}: {option.reason}")
    candidate = situation.way.candidate
    assert candidate is not None, "assess has looked for one"
    back = _Slot(run, cluster, slot, found, candidate)
    await point_preview(cluster, run.environment.traffic, slot)
    if candidate.revision is not None:
        assert helm is not None, "without helm there is no revision to bring back"
        await _roll_back(back, helm)
    ready, required = await _size(back)
    checks = [result.sentence for result in await prove(run.environment.traffic.preview_url, run.environment)]
    sentence = f"{run.release.previous} is back in slot {slot}, {ready} of {required} pod(s), proven by preview"
    log.info("%s", sentence)
    return {
        "slot": slot,
        "needed": True,
        "sentence": sentence,
        "helm_release": None if candidate.revision is None else back.name,
        "revision": candidate.revision,
        "ready": ready,
        "required": required,
        "checks": checks,
    }


def _nothing(slot: Slot, why: str) -> dict[str, Any]:
    log.info("nothing to bring back: %s", why)
    return {"slot": slot, "needed": False, "sentence": f"nothing to bring back: {why}"}


async def _roll_back(back: _Slot, helm: Helm) -> None:
    """Let helm bring the revision back, unless it has.

    It is named, so a release that a killed helm left pending is recovered by the same command.
    """
    revision = back.candidate.revision
    assert revision is not None, "the caller has looked"
    history = await helm.history(back.name)
    deployment = await back.cluster.deployment(back.name)
    if brought_back(history, back.candidate, deployment, back.found.moved.at):
        log.info("helm rolled %s back already: %s", back.name, history[-1].description)
        return
    timeout = back.run.environment.deploy_timeout_seconds
    started, force = time.monotonic(), False
    while True:
        log.info("helm rollback %s %d", back.name, revision)
        try:
            await helm.rollback(back.name, revision, timeout_seconds=timeout, wait=False, force_conflicts=force)
        except HelmPending as error:
            if time.monotonic() - started >= timeout:
                raise
            log.info("another helm works on %s, waiting for it: %s", back.name, error.seen)
            await asyncio.sleep(POLL_SECONDS)
        except ClusterRefused as error:
            if error.status != CONFLICT or force:
                raise
            log.warning("%s was changed by hand, that is undone: %s", back.name, error.seen)
            force = True
        else:
            return


async def _size(back: _Slot) -> tuple[int, int]:
    """Bring the slot to the size that users need and wait until its endpoints are ready.

    With fewer than that it goes on when waiting longer is pointless: users are better off on few pods that work.

    :return: ready endpoints, and how many there should be
    :raises SlotNotReady: not a single one
    """
    environment, cluster = back.run.environment, back.cluster
    required = await _scaled(back)
    started, said, course = time.monotonic(), "", Course()
    while True:
        waited = time.monotonic() - started
        verdict = course.judged(await slot_verdict(back.run, cluster, back.slot, waited=waited), waited)
        usable = await _usable(back)
        if verdict.state == "ready" and usable >= required:
            return usable, required
        sentence = f"{verdict.sentence}; {usable} of {required} endpoint(s) ready"
        if sentence != said:
            log.info("%s", sentence)
            said = sentence
        if verdict.state == "failed" or waited >= environment.deploy_timeout_seconds:
            if usable:
                log.error("%s: going on with these, scale %s up now", sentence, back.name)
                return usable, required
            error = await explained(verdict, back.run, cluster, back.slot)
            raise (
                error
                if verdict.state == "failed"
                else SlotNotReady(
                    f"{back.slot} did not come back within {waited:.0f} s",
                    seen=sentence,
                    remedy="look at its pods",
                )
            )
        await asyncio.sleep(POLL_SECONDS)


async def _usable(back: _Slot) -> int:
    """Endpoints that are pods of the old version: the Service may lag behind, and pods be replaced one by one."""
    traffic, images = back.run.environment.traffic, back.candidate.images
    pods = await back.cluster.pods(traffic.selector_for(back.slot))
    right = {pod.uid for pod in pods if not images or pod.image in images}
    endpoints = await back.cluster.endpoints(traffic.preview_service)
    return usable_endpoints((one for one in endpoints if one.pod_uid in right), traffic.port)


async def _scaled(back: _Slot) -> int:
    """Set the size; an autoscaler is kept from shrinking the slot while nobody uses it."""
    environment, traffic, cluster = back.run.environment, back.run.environment.traffic, back.cluster
    serving = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    required = required_endpoints(environment.replicas, serving)
    for hpa in await cluster.hpas():
        if hpa.target != back.name:
            continue
        required = min(required, hpa.max_replicas)
        if hpa.min_replicas < (minimum := pinned_minimum(hpa, required)):
            await cluster.set_hpa_minimum(hpa.name, minimum)
    deployment = await cluster.deployment(back.name)
    if deployment and deployment.replicas < required:
        log.info("scaling %s from %d to %d", back.name, deployment.replicas, required)
        await cluster.scale(back.name, required)
    return required
