"""What a release replaces is what its plan says: every proof about the old version is about that one."""

from __future__ import annotations

import logging
from typing import Final

from include.bluegreen.live_version import application_tag, judged
from include.bluegreen.slots import active_slot
from include.chart.finding import Finding, failed
from include.chart.manifest import mapping
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.plan.slots import Slot
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

RULE: Final = "previous-version"


async def check_previous(run: ReleaseRun, cluster: Cluster, helm: Helm | None, slot: Slot) -> list[Finding]:
    """What speaks against the slot that users return to running ``previous`` of the release.

    The old version is proven on the new schema, and a rollback promises to bring it back: where another one runs,
    neither is so. In staging, where releases come and go, that stops nothing.

    :param slot: the one that users are on before the cutover
    :param helm: None where there is none: then an image that is pinned by its digest tells nothing
    :raises ClusterError: the cluster gives no answer
    """
    images = await _images(run, cluster, slot)
    repository = run.release.image.repository
    tag = application_tag(images, repository) or (await _label(run, helm, slot) if helm and images else "")
    return _findings(run, slot, tag, images)


async def must_replace_what_runs(run: ReleaseRun, cluster: Cluster) -> None:
    """Refuse to migrate for a release under a version that it was not rehearsed with.

    :raises PreflightFailed: users are on another version than the one that the release replaces
    :raises TrafficError: nobody can tell which slot users are on
    :raises ClusterError: the cluster gives no answer
    """
    traffic = run.environment.traffic
    active = active_slot(await cluster.service(traffic.service), traffic)
    found = await check_previous(run, cluster, None, active)
    for one in found:
        log.log(logging.ERROR if one.severity == "block" else logging.WARNING, "%s", one)
    if error := failed(found):
        raise error


def _findings(run: ReleaseRun, slot: Slot, tag: str, images: tuple[str, ...]) -> list[Finding]:
    release = run.release
    judgement = judged(tag, version=release.version, previous=release.previous)
    if judgement == "previous":
        return []
    stops = judgement == "other" and run.environment.gate.automatic is None
    runs = f"runs {tag}" if tag else f"runs {', '.join(sorted(images)) or 'nothing'}"
    what = {
        "own": f"slot {slot} {runs}, this very version: a rollback returns to that, not to {release.previous}",
        "other": f"slot {slot} {runs}, and the release says that it replaces {release.previous}",
        "unknown": f"slot {slot} {runs}: whether that is {release.previous} cannot be told from its image",
    }[judgement]
    remedy = {
        "own": "look whether there is anything to release",
        "other": f"set `previous` to what runs, then rehearse again; or find out who replaced {release.previous}",
        "unknown": f"make sure that it is {release.previous} before you decide",
    }[judgement]
    object_ = f"Deployment/{run.environment.slot_release(slot)}"
    return [Finding(RULE, "block" if stops else "warn", object_, f"releases/{release.version}.yaml", what, remedy)]


async def _images(run: ReleaseRun, cluster: Cluster, slot: Slot) -> tuple[str, ...]:
    deployment = await cluster.deployment(run.environment.slot_release(slot))
    return deployment.images if deployment else ()


async def _label(run: ReleaseRun, helm: Helm, slot: Slot) -> str:
    """The tag that the slot's Helm release was given beside a digest; "" when there is none."""
    legacy = run.environment.traffic.legacy
    if legacy and legacy.slot == slot:
        return ""
    name = run.environment.slot_release(slot)
    deployed = [one.revision for one in await helm.history(name) if one.status == "deployed"]
    values = await helm.values(name, max(deployed)) if deployed else {}
    return str(mapping(values, "image").get("tag") or "")
