"""Whether staging has the release already, so that nothing needs to be deployed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.slots import Slot, active_slot
from include.clients.kubernetes import Cluster
from include.clients.registry import Registry
from include.ledger.entry import Entry, newest_of
from include.ledger.store import Ledger
from include.steps.database.entries import note
from include.steps.images import resolve_image
from include.steps.record import DEPLOYED, RELEASED, slots_of
from include.steps.run import ReleaseRun, parse_release_id
from include.steps.staging.entries import DEPLOYED_ALREADY
from include.steps.staging.serving import is_image, must_be_planned

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What is in traffic, and what the ledger tells about the run that brought it there.

    :param holder: the release id on the traffic Service; None when there is none
    :param active: the slot that takes traffic
    :param images: of the active slot's pods
    :param told: the ledger's entries of the holder's run
    """

    holder: str | None
    active: Slot
    images: frozenset[str]
    told: tuple[Entry, ...]


def missing(run: ReleaseRun, seen: Seen) -> str:
    """Why the release has to be deployed; empty when it is there, proven, and what the plan says now. Pure."""
    parsed = parse_release_id(seen.holder or "")
    if parsed is None or parsed[:2] != (run.release.version, run.environment.name):
        return f"the traffic is on {seen.holder or 'what no release has brought there'}"
    deployed = newest_of(seen.told, DEPLOYED)
    if deployed is None or newest_of(seen.told, RELEASED) is None:
        return f"run {parsed[2]} has moved the traffic, and the ledger has no proof that it works"
    if deployed.payload.get("slot") != seen.active:
        return (
            f"run {parsed[2]} has deployed to {deployed.payload.get('slot')}, and the traffic is on {seen.active}"
        )
    if deployed.payload.get("fingerprint") != run.fingerprint:
        return "image, chart, values, rules or Stellwerk are others than they were when it was deployed"
    others = {image for image in seen.images if not is_image(image, run.release.image)}
    if others or not seen.images:
        seen_instead = ", ".join(sorted(others)) or "nothing"
        return f"pods of {seen.active} run {seen_instead} instead of {run.release.image.reference}"
    return ""


async def look(run: ReleaseRun, cluster: Cluster, ledger: Ledger, registry: Registry | None) -> dict[str, Any]:
    """Look whether something has to be deployed, and record it when nothing has.

    :return: ``deploy`` whether, ``why``
    :raises TrafficError: there is no traffic Service, or it names neither slot
    :raises RegistryError: what the tag means cannot be found out
    :raises EvidenceError: this run has cut over, and the plan has changed since: it deploys nothing twice
    """
    run, _ = await resolve_image(run, ledger, registry)
    traffic = run.environment.traffic
    service = await cluster.service(traffic.service)
    active = active_slot(service, traffic)
    holder = release_id(service) if service else None
    switch = last_switch(service) if service else None
    forward = switch.release if switch is not None and switch.direction == "forward" else None
    if holder == forward == run.release_id:
        must_be_planned(run, ledger, slots_of(ledger, run)[1], what="the rehearsal")
        why = "this run has deployed it and cut over; what follows proves it"
        log.info("nothing to deploy: %s", why)
        return {"deploy": True, "why": why}
    parsed = parse_release_id(holder or "")
    told = (
        ledger.entries(release=parsed[0], environment=parsed[1], run_id=parsed[2], kinds=(DEPLOYED, RELEASED))
        if parsed
        else ()
    )
    pods = await cluster.pods(traffic.selector_for(active))
    images = frozenset(pod.image for pod in pods if not pod.deleting)
    why = missing(run, Seen(holder, active, images, told))
    if not why and parsed and parsed[2] != run.run_id:
        payload = {"slot": active, "by": parsed[2], "fingerprint": run.fingerprint}
        note(ledger, run, DEPLOYED_ALREADY, payload)
        why = f"{run.release.version} is in {active}, brought there and proven by run {parsed[2]}"
        log.info("nothing to deploy: %s", why)
        return {"deploy": False, "why": why}
    log.info("to be deployed: %s", why or "this run has begun to")
    return {"deploy": True, "why": why}
