"""Look before anything is written: is there a world in which this release can be switched safely?"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.decisions import Refused
from include.bluegreen.eligibility import WayBack, automatic_allowed, rollback_options
from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.guards import target_slot
from include.bluegreen.slots import active_slot, other
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import check_claim
from include.chart.finding import Finding, accepted, failed
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import ClusterRefused
from include.ledger.store import Ledger
from include.plan.models import Traffic
from include.plan.slots import Slot
from include.report.preview import markdown, summary
from include.steps.chart_preflight import check_chart, lacking_rights
from include.steps.plan_preview import keep_preview, plan_preview
from include.steps.record import RELEASED, ROLLED_BACK, STARTED, record
from include.steps.run import ReleaseRun, parse_release_id

log = logging.getLogger(__name__)


async def preflight(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Check, bind the slots of this run in the ledger, and return the evidence for the gate.

    :return: ``from``, ``to``, ``switch_back`` (a sentence), ``facts`` and ``changes`` (sentences), ``preview``
    :raises PreflightFailed: with everything that was found
    :raises StellwerkError: what is not as it has to be, so that nothing could be found out
    """
    try:
        return await _look(run, cluster, helm, ledger)
    except ClusterRefused as error:
        if error.status == 403 and (lacking := failed(await lacking_rights(run, cluster))):
            raise lacking from error
        raise


async def _look(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    environment, traffic = run.environment, run.environment.traffic
    facts = [f"Kubernetes {await cluster.server_version()}, helm {(await helm.version()).text}"]

    service = await cluster.service(traffic.service)
    active = active_slot(service, traffic)
    assert service is not None, "active_slot refuses a missing Service"
    target = target_slot(service, active, run.release_id)
    source = other(target)
    facts.append(f"Service {service.name} sends traffic to {active}; {run.release.version} goes to {target}")
    preview = await cluster.service(traffic.preview_service)

    claim = check_claim(service, traffic, run.release_id, holder_ended=holder_ended(service, ledger))
    if isinstance(claim, Refused):
        raise claim.error()

    ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    facts.append(f"{ready} ready endpoint(s) serve users now")
    checked = await check_chart(run, cluster, helm, target, [one for one in (service, preview) if one])
    facts += refuse(run, [*surroundings(traffic, preview, active=active, ready=ready), *checked.findings])
    name = environment.slot_release(target)
    facts.append(f"chart {run.chart.name} renders to {len(checked.manifests)} objects as Helm release {name}")

    way = WayBack(schema="unchanged", ready=ready, required=environment.replicas)
    options = rollback_options(way)
    facts.extend(f"rollback {o.name}: {'possible' if o.eligible else 'no'}, {o.reason}" for o in options)
    payload = {"from": source, "to": target, "release_id": run.release_id, "fingerprint": run.fingerprint}
    record(ledger, run, STARTED, payload, actor=run.triggered_by or "scheduler")
    changes = await plan_preview(
        run, cluster, helm, active=active, after=checked.manifests, ready=ready, options=options
    )
    whole = markdown(changes)
    keep_preview(ledger, run, whole)
    for fact in facts:
        log.info("%s", fact)
    switch_back = "yes, by itself" if automatic_allowed(way) else "no: a human has to"
    return {
        "from": source,
        "to": target,
        "switch_back": switch_back,
        "facts": facts,
        "changes": summary(changes),
        "preview": whole,
    }


def surroundings(traffic: Traffic, preview: ServiceState | None, *, active: Slot, ready: int) -> list[Finding]:
    """What the world around the slots lacks."""
    found = []
    if preview is None:
        name = traffic.preview_service
        found.append(
            Finding(
                "preview-service",
                "block",
                f"Service/{name}",
                "",
                "the preview Service does not exist",
                "create it once, outside of any Helm release, pointing at the idle slot",
            )
        )
    if ready < 1:
        what = f"slot {active} has no ready endpoint: users are down before the release begins"
        remedy = f"bring {active} up first: it is what a release returns to"
        found.append(Finding("active-slot", "block", f"Service/{traffic.service}", "", what, remedy))
    return found


def refuse(run: ReleaseRun, findings: Iterable[Finding]) -> list[str]:
    """Log every finding, and return the warnings as facts for those who decide.

    :raises PreflightFailed: with every finding that blocks
    """
    found = accepted(findings, run.environment.chart_accept)
    for one in found:
        log.log(logging.ERROR if one.severity == "block" else logging.WARNING, "%s", one)
    if error := failed(found):
        raise error
    return [f"warning: {one}" for one in found]


def holder_ended(service: ServiceState, ledger: Ledger) -> bool:
    """Whether the release whose id is on the Service has come to its end.

    It has when it never moved the traffic (runs of this phase follow one another), when the traffic was moved
    back, or when the ledger says that it was verified.
    """
    holder = release_id(service)
    if holder is None:
        return True
    switch = last_switch(service)
    if switch is None or switch.release != holder or switch.direction == "back":
        return True
    parsed = parse_release_id(holder)
    if parsed is None:
        return False
    version, environment, run_id = parsed
    return any(
        entry.kind == ROLLED_BACK or entry.run_id == run_id
        for entry in ledger.entries(release=version, environment=environment, kinds=(RELEASED, ROLLED_BACK))
    )
