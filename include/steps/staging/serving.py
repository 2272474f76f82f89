"""What users of staging get, looked at beside every proof: only what this run tries is evidence of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.bluegreen.fence import LastSwitch, last_switch, release_id
from include.bluegreen.slots import Slot, active_slot
from include.clients.kubernetes import Cluster
from include.errors import EvidenceError, StellwerkError, TrafficError
from include.ledger.store import Ledger
from include.plan.models import ImageRef
from include.steps.database.entries import note
from include.steps.deployed import Source, changed, source_of
from include.steps.images import pinned
from include.steps.record import CUT_OVER, DEPLOYED, all_recorded, require, slots_of
from include.steps.run import ReleaseRun, parse_release_id
from include.steps.staging.entries import DEPLOYED_ALREADY, SERVED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expected:
    """What this run tries.

    :param by: id of the run that has brought it there
    :param contents: digests that were seen at first; empty when this is the first look
    """

    slot: Slot
    by: str
    image: ImageRef
    contents: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Serving:
    """What users get.

    :param holder: the release id on the traffic Service; None when there is none
    :param switch: the last one that Stellwerk made; None when there was none
    :param images: what the pods of the active slot were told to run
    :param contents: what they do run, by digest, as far as the cluster tells
    """

    holder: str | None
    active: Slot
    switch: LastSwitch | None
    images: frozenset[str]
    contents: frozenset[str]


def astray(expected: Expected, seen: Serving) -> str:
    """Why users do not get what this run tries; empty when they do. Pure."""
    parsed = parse_release_id(seen.holder or "")
    if parsed is None or parsed[2] != expected.by:
        return f"the traffic Service belongs to {parsed[2] if parsed else 'nobody'}, not to {expected.by}"
    if seen.active != expected.slot:
        by = f" by {seen.switch.by}: {seen.switch.reason}" if seen.switch else ""
        return (
            f"the traffic is on {seen.active}, not on {expected.slot}; the last switch was made{by or ' by hand'}"
        )
    if seen.switch is not None and seen.switch.direction == "back":
        return f"{seen.switch.by} has switched back: {seen.switch.reason}"
    wrong = {image for image in seen.images if not is_image(image, expected.image)}
    if wrong or not seen.images:
        instead = ", ".join(sorted(wrong)) or "nothing"
        return f"pods of {seen.active} run {instead} instead of {expected.image.reference}"
    if expected.contents and (new := seen.contents - expected.contents):
        return f"pods of {seen.active} run another content under the same name: {', '.join(sorted(new))}"
    return ""


def is_image(image: str, wanted: ImageRef) -> bool:
    """Whether a pod's image is the one: by its digest where that is known, else by its tag."""
    if wanted.digest:
        return image.endswith(f"@{wanted.digest}")
    return image == f"{wanted.repository}:{wanted.tag}"


def deployed_of(run: ReleaseRun, ledger: Ledger) -> Source | None:
    """What the slot that this run tries was deployed from; None when no deployment tells.

    :raises LedgerError: the ledger cannot be read
    """
    found = all_recorded(ledger, run, CUT_OVER, DEPLOYED_ALREADY)
    by = found[-1].payload["by"] if found and found[-1].kind == DEPLOYED_ALREADY else run.run_id
    deployed = ledger.entries(
        release=run.release.version, environment=run.environment.name, run_id=str(by), kinds=(DEPLOYED,)
    )
    return Source.of_facts(deployed[-1].payload) if deployed else None


def must_be_planned(run: ReleaseRun, ledger: Ledger, slot: Slot, *, what: str) -> None:
    """Have the plan say what was deployed: a chart that has changed since was never tried.

    :param what: relies on it, for the message
    :raises EvidenceError: the plan has another chart, other values or another image by now
    """
    deployed = deployed_of(run, ledger)
    if deployed is not None and (differs := changed(deployed, source_of(pinned(run, ledger), slot))):
        raise EvidenceError(
            f"{what} of {run.release.version} in {run.environment.name} would not be about what the plan has now",
            expected="chart, image and values as they were deployed",
            seen=f"another plan than the one that was deployed, in {differs}",
            remedy="rehearse again (a new run with repeat_reason), or put the plan back as it was and clear this "
            "task",
        )


def expected_of(run: ReleaseRun, ledger: Ledger) -> Expected:
    """What this run tries: what it has deployed, or what it has found deployed, whichever came last.

    :raises TrafficError: neither
    """
    found = all_recorded(ledger, run, CUT_OVER, DEPLOYED_ALREADY)
    image = pinned(run, ledger).release.image
    if found and found[-1].kind == CUT_OVER:
        slot, by = slots_of(ledger, run)[1], run.run_id
    else:
        told = require(ledger, run, DEPLOYED_ALREADY, before="a proof").payload
        slot, by = told["slot"], str(told["by"])
    since = [entry for entry in all_recorded(ledger, run, SERVED) if entry.sequence > found[-1].sequence]
    looks = [entry for entry in since if entry.payload["ok"]]
    contents = frozenset(map(str, looks[0].payload["contents"])) if looks else frozenset()
    return Expected(slot, by, image, contents)


async def observe(run: ReleaseRun, cluster: Cluster) -> Serving:
    """Look at the traffic Service and the pods behind it.

    :raises TrafficError: there is no traffic Service, or it names neither slot
    :raises ClusterError: the cluster gives no answer
    """
    traffic = run.environment.traffic
    service = await cluster.service(traffic.service)
    active = active_slot(service, traffic)
    pods = [pod for pod in await cluster.pods(traffic.selector_for(active)) if not pod.deleting]
    return Serving(
        holder=release_id(service) if service else None,
        active=active,
        switch=last_switch(service) if service else None,
        images=frozenset(pod.image for pod in pods),
        contents=frozenset(pod.image_id for pod in pods if pod.image_id),
    )


async def look(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> Mapping[str, Any]:
    """Look what users get and record it, unless that is known already.

    :return: the recorded facts: ``ok``, ``problem``, ``slot``, ``by``, ``images``, ``contents``
    :raises TrafficError: this run has nothing to try
    :raises ClusterError: the cluster gives no answer
    """
    expected = expected_of(run, ledger)
    facts: dict[str, Any] = {"slot": expected.slot, "by": expected.by, "images": [], "contents": []}
    try:
        seen = await observe(run, cluster)
    except TrafficError as error:
        facts |= {"ok": False, "problem": str(error)}
    else:
        problem = astray(expected, seen)
        facts |= {"images": sorted(seen.images), "contents": sorted(seen.contents)}
        facts |= {"ok": not problem, "problem": problem}
    log.info("users of %s get %s: %s", run.environment.name, expected.slot, facts["problem"] or "as they should")
    return note(ledger, run, SERVED, facts).payload


async def must_serve(run: ReleaseRun, cluster: Cluster, ledger: Ledger, *, what: str) -> Mapping[str, Any]:
    """Have users get what this run tries, and nothing else.

    :param what: relies on it, for the message
    :return: as :func:`look` does
    :raises EvidenceError: they get something else: it would be the evidence of that; or the plan has changed since
        it was deployed
    """
    found = await look(run, cluster, ledger)
    if not found["ok"]:
        raise elsewhere(run, str(found["problem"]), what)
    must_be_planned(run, ledger, found["slot"], what=what)
    return found


def elsewhere(run: ReleaseRun, problem: str, what: str) -> StellwerkError:
    """What is said when something else than this run's release would be tried."""
    return EvidenceError(
        f"{what} of {run.release.version} in {run.environment.name} would show something else",
        expected="the traffic where this run has brought it, with the image that it has deployed",
        seen=problem,
        remedy="rehearse again (a new run with repeat_reason); where staging was only switched back and "
        "forth, bring it to the release again and clear smoke_tests with what comes after it",
    )
