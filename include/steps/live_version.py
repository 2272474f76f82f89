"""What a release replaces is what its plan says: every proof about the old version is about that one."""

from __future__ import annotations

from typing import Final

from include.bluegreen.candidate import labelled_tag
from include.bluegreen.live_version import application_tag, judged
from include.bluegreen.slots import active_slot
from include.chart.finding import Finding, Severity, accepted, refuse_blocking
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.plan.slots import Slot
from include.steps.run import ReleaseRun

RULE: Final = "previous-version"
STAGING: Final = "staging"


async def check_previous(run: ReleaseRun, cluster: Cluster, helm: Helm | None, slot: Slot) -> list[Finding]:
    """What speaks against the slot that users return to running ``previous`` of the release.

    The old version is proven on the new schema, and a rollback promises to bring it back: where another one runs,
    neither is so. In staging, where releases come and go, that stops nothing; nor does it where the environment
    accepts it (``chart_accept``).

    :param slot: the one that users are on before the cutover
    :param helm: None where there is none: then an image that is pinned by its digest tells nothing
    :raises ClusterError: the cluster gives no answer
    """
    images = await _images(run, cluster, slot)
    repository = run.release.image.repository
    tag = application_tag(images, repository) or (await _label(run, helm, slot) if helm and images else "")
    return _findings(run, slot, tag, images)


async def must_replace_what_runs(run: ReleaseRun, cluster: Cluster, helm: Helm | None) -> tuple[str, ...]:
    """Refuse to migrate for a release under a version that it was not rehearsed with.

    :return: what those who decide have to know, a sentence each
    :raises PreflightFailed: users are on another version than the one that the release replaces
    :raises TrafficError: nobody can tell which slot users are on
    :raises ClusterError: the cluster gives no answer
    """
    traffic, reasons = run.environment.traffic, run.environment.chart_accept
    active = active_slot(await cluster.service(traffic.service), traffic)
    found = await check_previous(run, cluster, helm, active)
    # Acceptances of other rules are the preflight's.
    found = [one for one in accepted(found, reasons) if one.rule == RULE]
    refuse_blocking(found)
    return tuple(str(one) for one in found)


def _findings(run: ReleaseRun, slot: Slot, tag: str, images: tuple[str, ...]) -> list[Finding]:
    release, staging = run.release, run.environment.name == STAGING
    judgement = judged(tag, version=release.version, previous=release.previous)
    if judgement == "previous":
        return []
    runs = tag or ", ".join(sorted(_short(image) for image in images)) or "nothing"
    # The fact first: a form cuts long lines.
    what = {
        "own": f"users are on this very version ({runs}): a rollback returns to that, not to {release.previous}",
        "other": f"users are on {runs}, and the release says that it replaces {release.previous}",
        "unknown": f"whether users are on {release.previous} cannot be told: slot {slot} runs {runs}",
    }[judgement]
    remedy = {
        "own": "look whether there is anything to release",
        "other": f"set `previous` to what runs, then rehearse again; or find out who replaced {release.previous}",
        "unknown": "make sure before you decide",
    }[judgement]
    severity: Severity = "block" if judgement == "other" and not staging else "warn"
    return [Finding(RULE, severity, "", "", what, remedy)]


def _short(image: str) -> str:
    """An image without its registry, and with as much of its digest as people compare."""
    name, at, digest = image.rpartition("/")[2].partition("@")
    return f"{name}{at}{digest.removeprefix('sha256:')[:12]}"


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
    return labelled_tag(values)
