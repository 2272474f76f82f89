"""Looking for what ``helm-rollback`` would bring back, and whether the cluster would take it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from include.bluegreen.candidate import Sought, images_of, none_of, objection
from include.bluegreen.eligibility import Candidate
from include.bluegreen.recovery import revisions_that_worked
from include.bluegreen.slots import Slot
from include.chart.manifest import Manifest
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import ChartError, StellwerkError
from include.steps.chart_preflight import refusals
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

LONGEST_SECONDS: Final = 20.0
_WORDS: Final = 200


async def find_candidate(
    run: ReleaseRun, cluster: Cluster, helm: Helm | None, slot: Slot, *, version: str
) -> Candidate:
    """What would bring ``version`` back into ``slot``; never raises, for no way back may wait for this one.

    :param helm: None where there is no helm binary
    """
    legacy = run.environment.traffic.legacy
    try:
        if legacy and legacy.slot == slot:
            return await _adopted(cluster, legacy.deployment)
        if helm is None:
            return Candidate(usable=False, reason="there is no helm on this worker")
        async with asyncio.timeout(LONGEST_SECONDS):
            return await _newest(run, cluster, helm, slot, version)
    except TimeoutError:
        return Candidate(usable=False, reason=f"what could be brought back was not known in {LONGEST_SECONDS:g} s")
    except StellwerkError as error:
        return Candidate(usable=False, reason=f"what could be brought back is not known: {error}")


async def _adopted(cluster: Cluster, name: str) -> Candidate:
    if await cluster.deployment(name) is None:
        return Candidate(usable=False, reason=f"Deployment {name}, the adopted installation, has been deleted")
    return Candidate(usable=True, reason=f"Deployment {name}, the adopted installation, is scaled up again")


async def _newest(run: ReleaseRun, cluster: Cluster, helm: Helm, slot: Slot, version: str) -> Candidate:
    traffic, name = run.environment.traffic, run.environment.slot_release(slot)
    history = await helm.history(name)
    if not history:
        return Candidate(usable=False, reason=f"there is no Helm release {name}: it has been uninstalled")
    sought = Sought(
        name, version, run.release.image.repository, frozenset((traffic.service, traffic.preview_service))
    )
    objections: dict[int, str] = {}
    for revision in revisions_that_worked(history):
        number = revision.revision
        try:
            manifests = await helm.manifest(name, number)
        except ChartError as error:
            objections[number] = f"it cannot be read: {error.what}"
            continue
        values = await helm.values(name, number)
        # The plan's too: what is there now came from those. A plan that was kept has none.
        made_of = {"revision": values, "plan": run.values(slot)}
        why = objection(sought, revision, manifests, values) or await _refused(cluster, manifests, made_of)
        if why is None:
            reason = f"revision {number} of Helm release {name} ({version}) is brought back"
            return Candidate(usable=True, reason=reason, revision=number, images=images_of(manifests, name))
        objections[number] = why
    return none_of(name, objections)


async def _refused(cluster: Cluster, manifests: tuple[Manifest, ...], values: Mapping[str, Any]) -> str | None:
    inspector = cluster.inspector()
    found = await refusals(inspector, await inspector.api(), manifests, values)
    for one in found:
        log.info("%s", one)
    return f"the cluster does not accept it: {found[0].what[:_WORDS]}" if found else None
