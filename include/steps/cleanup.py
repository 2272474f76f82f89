"""Retire the old slot once nobody needs it any more."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from include.bluegreen.decisions import Refused
from include.bluegreen.guards import may_clean_up
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import SlotNotReady
from include.ledger.store import Ledger
from include.steps.legacy import end_adoption, remove_legacy
from include.steps.record import CLEANED_UP, WATCH_PASSED, record, recorded, require_approval, slots_of
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


async def clean_up(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Scale the old slot to zero (its autoscaler is then off), or uninstall it where the policy says so.

    :raises ApprovalMissing: no valid Go
    :raises TrafficError: the watch has not passed, or the slot takes traffic
    """
    require_approval(ledger, run)
    source, _ = slots_of(ledger, run)
    environment, traffic = run.environment, run.environment.traffic
    decision = may_clean_up(
        await cluster.service(traffic.service),
        traffic,
        source,
        release_id=run.release_id,
        watch_passed=recorded(ledger, run, WATCH_PASSED) is not None,
    )
    if isinstance(decision, Refused):
        raise decision.error()
    name, legacy = environment.slot_release(source), traffic.legacy
    if legacy and legacy.slot == source:
        await remove_legacy(run, cluster, ledger, legacy)
    elif environment.cleanup == "uninstall":
        log.info("helm uninstall %s", name)
        await helm.uninstall(name)
    elif (deployment := await cluster.deployment(name)) and deployment.replicas:
        log.info("scaling %s from %d to 0; its Helm release and history stay", name, deployment.replicas)
        await cluster.scale(name, 0)
    await _until_gone(run, cluster, traffic.selector_for(source))
    payload = {"slot": source, "policy": environment.cleanup, "helm_release": name}
    if legacy and legacy.slot == source:
        payload = {"slot": source, "policy": "delete", "deployment": name}
    done = record(ledger, run, CLEANED_UP, payload)
    if legacy and legacy.slot == source:
        await end_adoption(cluster, traffic.service, legacy)
    return dict(done.payload)


async def _until_gone(run: ReleaseRun, cluster: Cluster, labels: dict[str, str]) -> None:
    started = time.monotonic()
    while left := await cluster.pods(labels):
        if time.monotonic() - started >= run.environment.deploy_timeout_seconds:
            raise SlotNotReady(
                "pods of the old slot do not end",
                expected="no pod",
                seen=", ".join(pod.name for pod in left),
                remedy="see why they do not terminate; users are not affected",
            )
        await asyncio.sleep(0.5)
    log.info("no pod of the old slot is left")
