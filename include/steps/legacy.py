"""The adopted installation as one of the slots: every step sees it, and the clean-up ends it."""

from __future__ import annotations

import logging

from include.bluegreen.adopted import adopted
from include.clients.kubernetes import Cluster
from include.clients.traffic import finish
from include.ledger.store import Ledger
from include.plan.legacy import Legacy
from include.steps.record import ADOPTION_PLANNED
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


async def bound(run: ReleaseRun, cluster: Cluster) -> ReleaseRun:
    """Bind the run to what the traffic Service says: whether one of its slots is an adopted installation.

    :raises AdoptionRefused: what it says cannot be read
    """
    legacy = adopted(await cluster.service(run.environment.traffic.service))
    return run if legacy == run.environment.traffic.legacy else run.adopting(legacy)


async def remove_legacy(run: ReleaseRun, cluster: Cluster, ledger: Ledger, legacy: Legacy) -> None:
    """Delete the adopted Deployment and its autoscaler, and name what else the old installation left behind."""
    if legacy.hpa:
        log.info("deleting HorizontalPodAutoscaler %s", legacy.hpa)
        await cluster.delete_hpa(legacy.hpa)
    log.info("deleting Deployment %s, the adopted installation", legacy.deployment)
    await cluster.delete_deployment(legacy.deployment)
    ours = {
        f"Deployment/{legacy.deployment}",
        f"HorizontalPodAutoscaler/{legacy.hpa}",
        f"Service/{run.environment.traffic.service}",
    }
    plans = ledger.entries(environment=run.environment.name, kinds=(ADOPTION_PLANNED,))
    if left := sorted(set(plans[-1].payload.get("objects", ())) - ours) if plans else []:
        log.warning(
            "left of Helm release %s, delete by hand what nobody needs: %s", legacy.helm_release, ", ".join(left)
        )


async def end_adoption(cluster: Cluster, service: str, legacy: Legacy) -> None:
    """Forget the old Helm release and free the slot; what cannot be brought back needs no way back."""
    if legacy.helm_release:
        forgotten = await cluster.release_secrets.forget(legacy.helm_release)
        log.info("deleted %d kept revision(s) of Helm release %s", forgotten, legacy.helm_release)
    await finish(cluster, service)
    log.info("slot %s is free: the next release is installed into it", legacy.slot)
