"""Look before anything is written: is there a world in which this release can be switched safely?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from include.bluegreen.adopted import foreseen
from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.decisions import Refused
from include.bluegreen.eligibility import Restorable, WayBack, automatic_allowed, rollback_options
from include.bluegreen.fence import release_id
from include.bluegreen.guards import still_adopted, target_slot
from include.bluegreen.slots import active_slot, other
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import check_claim
from include.chart.finding import Finding, accepted, failed, refuse_blocking
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.metrics import open_sources
from include.clients.prometheus import Prometheus
from include.clients.registry import Registry
from include.errors import ChartError, ClusterRefused
from include.ledger.store import Ledger
from include.plan.models import Traffic
from include.plan.slots import Slot
from include.report.preview import markdown, summary
from include.steps.adoption import Adoption, announce_adoption, assess
from include.steps.candidate import find_candidate
from include.steps.chart_preflight import check_chart, lacking_rights
from include.steps.images import resolve_image
from include.steps.lease import hold, look, override_claim
from include.steps.live_version import check_previous
from include.steps.metrics_check import check_metrics
from include.steps.plan_preview import keep_preview, plan_preview
from include.steps.planned import record_plan
from include.steps.record import STARTED, holder_ended, record
from include.steps.run import ReleaseRun
from include.steps.schema_proof import schema_fact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Elsewhere:
    """What preflight asks besides the cluster, as far as the environment names it.

    :param registry: where the tag of the release's image is looked up
    :param prometheus: where rules read that do not read the pods themselves
    :param backup: looks for the backup that a full restore would bring back; slow, and never raises
    """

    registry: Registry | None = None
    prometheus: Prometheus | None = None
    backup: Callable[[], Restorable] | None = None


async def preflight(
    run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger, elsewhere: Elsewhere | None = None
) -> dict[str, Any]:
    """Check, take the Lease, bind the slots of this run in the ledger, and return the evidence for the gate.

    :return: ``from``, ``to``, ``switch_back`` (a sentence), ``facts`` and ``changes`` (sentences), ``preview``
    :raises PreflightFailed: with everything that was found
    :raises StellwerkError: what is not as it has to be, so that nothing could be found out
    """
    elsewhere = elsewhere or Elsewhere()
    try:
        run, facts = await resolve_image(run, ledger, elsewhere.registry)
        return await _look(run, cluster, helm, ledger, _Known(facts, elsewhere))
    except ClusterRefused as error:
        if error.status == 403 and (lacking := failed(await lacking_rights(run, cluster))):
            raise lacking from error
        raise


@dataclass(frozen=True)
class _Known:
    facts: tuple[str, ...]
    elsewhere: Elsewhere


async def _look(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger, known: _Known) -> dict[str, Any]:
    await look(run, cluster)
    facts = [f"Kubernetes {await cluster.server_version()}, helm {(await helm.version()).text}", *known.facts]
    if found := await _adoptable(run, cluster, helm):
        run = run.adopting(found.legacy)
        facts += found.facts
    environment, traffic = run.environment, run.environment.traffic

    service = await cluster.service(traffic.service)
    service = service and foreseen(service, traffic)
    active = active_slot(service, traffic)
    assert service is not None, "active_slot refuses a missing Service"
    target = target_slot(service, active, run.release_id)
    source = other(target)
    if refusal := still_adopted(traffic, target):
        raise refusal.error()
    facts.append(f"Service {service.name} sends traffic to {active}; {run.release.version} goes to {target}")
    preview = await cluster.service(traffic.preview_service)

    ended = holder_ended(service, ledger)
    claim = check_claim(service, traffic, run.release_id, holder_ended=ended or bool(run.override_reason))
    if isinstance(claim, Refused):
        raise claim.error()

    ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    facts.append(f"{ready} ready endpoint(s) serve users now")
    services = [one for one in (service, preview) if one]
    # Both slots are rendered as Stellwerk would install them: the adopted one is replaced by its own, too.
    checked = await check_chart(run.adopting(None), cluster, helm, target, services)
    sources = open_sources(environment, cluster, known.elsewhere.prometheus)
    metrics = await check_metrics(environment, sources, active) if ready else ()
    lacking = surroundings(traffic, preview, active=active, ready=ready)
    lacking += await check_previous(run, cluster, helm, source)
    facts += refuse(run, [*lacking, *checked.findings, *metrics])
    facts.append(f"every rule of the watch has data of {active} today, from {' and '.join(sorted(sources))}")
    name = environment.slot_release(target)
    facts.append(f"chart {run.chart.name} renders to {len(checked.manifests)} objects as Helm release {name}")

    # What the watch's end leaves: after the clean-up the slot that is active now has to be brought back.
    candidate = await find_candidate(run, cluster, helm, active, version=run.release.previous)
    schema, look_for = schema_fact(run, ledger), known.elsewhere.backup
    way = WayBack(
        schema.proof,
        ready,
        environment.replicas,
        candidate=candidate,
        rehearsal=schema.rehearsal,
        restorable=await asyncio.to_thread(look_for) if look_for else None,
    )
    options = rollback_options(way)
    facts.extend(f"rollback {o.name}: {'possible' if o.eligible else 'no'}, {o.reason}" for o in options)
    lease = await hold(run, cluster, ledger, take_over=True)
    facts.append(f"Lease {lease.name}: {lease.describe()}")
    if not ended and (holder := release_id(service)) not in (None, run.release_id):
        override_claim(run, ledger, str(holder))
    if run.override_reason:
        facts.append(f"OVERRIDE by {run.triggered_by or 'the scheduler'}: {run.override_reason}")
    announce_adoption(run, ledger, found)
    payload = {"from": source, "to": target, "release_id": run.release_id, "fingerprint": run.fingerprint}
    record(ledger, run, STARTED, payload, actor=run.triggered_by or "scheduler")
    record_plan(run, ledger)
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


async def _adoptable(run: ReleaseRun, cluster: Cluster, helm: Helm) -> Adoption | None:
    """What is to be adopted, if anything.

    :raises PreflightFailed: the chart does not render, with everything else that is wrong with it
    """
    try:
        return await assess(run, cluster, helm)
    except ChartError:
        checked = await check_chart(run.adopting(None), cluster, helm, "green", ())
        refuse(run, checked.findings)
        raise


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
    refuse_blocking(found)
    return [f"warning: {one}" for one in found]
