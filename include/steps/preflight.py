"""Look before anything is written: is there a world in which this release can be switched safely?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from include.bluegreen.adopted import foreseen
from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.decisions import Refused
from include.bluegreen.eligibility import WayBack, automatic_allowed, rollback_options
from include.bluegreen.guards import still_adopted, target_slot
from include.bluegreen.slots import active_slot, other
from include.bluegreen.switch import check_claim
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import ChartError, NotEnoughEndpoints, TrafficServiceMissing
from include.ledger.store import Ledger
from include.steps.adoption import plan
from include.steps.record import STARTED, holder_ended, record
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


async def preflight(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Check, bind the slots of this run in the ledger, and return the evidence for the gate.

    :return: ``from``, ``to``, ``switch_back`` (a sentence) and ``facts`` (sentences)
    :raises StellwerkError: what is not as it has to be
    """
    facts = [f"Kubernetes {await cluster.server_version()}, helm {(await helm.version()).text}"]
    run, adoption = await plan(run, cluster, helm, ledger)
    facts.extend(adoption)
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
    await _preview_exists(run, cluster)

    claim = check_claim(service, traffic, run.release_id, holder_ended=holder_ended(service, ledger))
    if isinstance(claim, Refused):
        raise claim.error()

    ready = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
    facts.append(f"{ready} ready endpoint(s) serve users now")
    if ready < 1:
        raise NotEnoughEndpoints(
            f"{active} has no ready endpoint: users are down before the release begins",
            expected="a running production to release into and to return to",
            seen="0 ready endpoints",
            remedy=f"bring {active} up first",
        )
    name = environment.slot_release(target)
    manifests = await helm.template(name, run.chart, run.values(target))
    facts.append(f"chart {run.chart.name} renders to {len(manifests)} objects as Helm release {name}")
    check_image(manifests, run)

    way = WayBack(schema="unchanged", ready=ready, required=environment.replicas)
    options = rollback_options(way)
    facts.extend(f"rollback {o.name}: {'possible' if o.eligible else 'no'}, {o.reason}" for o in options)
    payload = {"from": source, "to": target, "release_id": run.release_id, "fingerprint": run.fingerprint}
    record(ledger, run, STARTED, payload, actor=run.triggered_by or "scheduler")
    for fact in facts:
        log.info("%s", fact)
    switch_back = "yes, by itself" if automatic_allowed(way) else "no: a human has to"
    return {"from": source, "to": target, "switch_back": switch_back, "facts": facts}


async def _preview_exists(run: ReleaseRun, cluster: Cluster) -> None:
    name = run.environment.traffic.preview_service
    if await cluster.service(name) is None:
        raise TrafficServiceMissing(
            f"preview Service {name} not found",
            expected=f"a Service {name} in namespace {run.environment.namespace}",
            remedy="create it once, outside of any Helm release, pointing at the idle slot",
        )


def check_image(manifests: Sequence[Mapping[str, Any]], run: ReleaseRun) -> None:
    """Refuse a chart that does not deploy the image which the release names.

    :raises ChartError: no Deployment uses the release's image
    """
    wanted = run.release.image
    images = sorted(
        container.get("image", "")
        for item in manifests
        if item.get("kind") == "Deployment"
        for container in item["spec"]["template"]["spec"].get("containers", ())
    )
    if not any(
        f"{wanted.repository}:{wanted.tag}" in image or (wanted.digest or "\0") in image for image in images
    ):
        raise ChartError(
            "the chart does not deploy the release's image",
            expected=wanted.reference,
            seen=", ".join(images) or "no Deployment",
            remedy="let the chart take image.repository, image.tag and image.digest from its values",
        )
