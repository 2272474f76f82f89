"""Proofs by looking: of the idle slot before the cutover, of production at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from include.bluegreen.capacity import required_endpoints, usable_endpoints
from include.bluegreen.slots import Slot, active_slot
from include.clients.kubernetes import Cluster
from include.clients.prober import ProbeResult, run_smoke
from include.errors import NotEnoughEndpoints, VerificationFailed
from include.ledger.store import Ledger
from include.plan.models import Environment, SmokeCheck
from include.steps.lease import holding
from include.steps.record import CUT_OVER, DEPLOYED, RELEASED, VERIFIED, record, require, slots_of
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

# kube-proxy may know new endpoints a second later than the API server (FACTS, Readiness).
PATIENCE_SECONDS = 15.0


async def verify_idle(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Prove the slot that was deployed: endpoints, health endpoints, smoke suite through the preview Service.

    :raises LeaseError: another release has the environment
    :raises NotEnoughEndpoints: fewer ready endpoints than production has
    :raises VerificationFailed: a check did not get the answer it expects
    """
    require(ledger, run, DEPLOYED, before="verification")
    async with holding(run, cluster, ledger):
        return await _verify_idle(run, cluster, ledger)


async def _verify_idle(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    _, target = slots_of(ledger, run)
    traffic = run.environment.traffic
    active_ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    required = required_endpoints(run.environment.replicas, active_ready)
    usable = usable_endpoints(await cluster.endpoints(traffic.preview_service), traffic.port)
    if usable < required:
        raise NotEnoughEndpoints(
            f"{target} is not ready to take the traffic",
            expected=f"{required} ready endpoint(s) of {traffic.preview_service}",
            seen=str(usable),
            remedy="clear deploy_idle_slot",
        )
    results = await prove(traffic.preview_url, run.environment)
    payload = {"slot": target, "endpoints": usable, "checks": [result.sentence for result in results]}
    return dict(record(ledger, run, VERIFIED, payload).payload)


async def verify_released(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Prove that users get the release: selector, endpoints, public URL.

    :raises VerificationFailed: they do not
    """
    require(ledger, run, CUT_OVER, before="final verification")
    _, target = slots_of(ledger, run)
    results = await prove_traffic(run, cluster, target)
    payload = {"slot": target, "checks": [result.sentence for result in results]}
    return dict(record(ledger, run, RELEASED, payload).payload)


async def prove_traffic(run: ReleaseRun, cluster: Cluster, slot: Slot) -> Sequence[ProbeResult]:
    """Prove that users reach ``slot`` and get right answers.

    :raises VerificationFailed: the Service names the other slot, has no endpoint, or a public check failed
    """
    traffic = run.environment.traffic
    active = active_slot(await cluster.service(traffic.service), traffic)
    usable = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    log.info("Service %s sends traffic to %s, %d ready endpoint(s)", traffic.service, active, usable)
    if active != slot or usable < 1:
        raise VerificationFailed(
            "traffic is not where it has to be",
            expected=f"{slot} with at least one ready endpoint",
            seen=f"{active} with {usable}",
            remedy="see who switched (annotation stellwerk.io/last-switch on the Service)",
        )
    return await prove(traffic.public_url, run.environment)


async def prove(base_url: str, environment: Environment) -> Sequence[ProbeResult]:
    """Run health endpoints and smoke suite against a URL until all pass or patience ends.

    :raises VerificationFailed: naming every check that failed last
    """
    traffic = environment.traffic
    health = [SmokeCheck(name=f"health {p}", path=p) for p in traffic.health_paths if p != traffic.metrics_path]
    started = time.monotonic()
    while True:
        results = await run_smoke(base_url, [*health, *environment.smoke])
        failed = [result for result in results if not result.ok]
        late = time.monotonic() - started >= PATIENCE_SECONDS
        if not failed or late:
            break
        log.info("not yet: %s", "; ".join(result.sentence for result in failed))
        await asyncio.sleep(1.0)
    for result in results:
        log.info("%s %s", "ok" if result.ok else "FAILED", result.sentence)
    if failed:
        raise VerificationFailed(
            f"{len(failed)} of {len(results)} checks of {base_url} failed",
            expected="every health endpoint and smoke check as the environment's YAML says",
            seen="; ".join(result.sentence for result in failed),
            remedy="read the application's log; the traffic has not been moved by this step",
        )
    return results
