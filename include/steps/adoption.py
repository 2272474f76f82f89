"""Take over an installation from before Stellwerk as one of the slots, or give it back (docs/adoption.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from include.bluegreen.adopted import HELM_RELEASE, foreseen, ownership
from include.bluegreen.adoption import Installation, Rendered, behind, decide, legacy_slot
from include.bluegreen.decisions import Refused
from include.bluegreen.fence import release_id
from include.bluegreen.slots import active_slot, other
from include.bluegreen.state import DeploymentState, ServiceState
from include.bluegreen.switch import check_claim
from include.chart.manifest import Manifest
from include.clients.helm import Capabilities, Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, give_back, take_over
from include.errors import AdoptionRefused, PatchRefused, TrafficServiceMissing, UnknownSelector
from include.ledger.store import Ledger
from include.plan.legacy import Legacy
from include.steps.decided import require_release
from include.steps.lease import holding, overridden
from include.steps.legacy import bound
from include.steps.record import (
    ADOPTED,
    ADOPTION_PLANNED,
    ADOPTION_UNDO,
    ADOPTION_UNDONE,
    holder_ended,
    record,
    recorded,
    require,
)
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adoption:
    """What there is to adopt, seen before anything is done.

    :param legacy: the installation that is (or would become) a slot
    :param facts: sentences for those who decide
    :param objects: ``Kind/name`` of everything in the Helm release the Service belongs to
    :param done: the traffic Service says so already
    """

    legacy: Legacy
    facts: tuple[str, ...]
    objects: tuple[str, ...] = ()
    done: bool = False


async def assess(run: ReleaseRun, cluster: Cluster, helm: Helm) -> Adoption | None:
    """Find out whether what takes the traffic was installed before Stellwerk; None when it was not.

    :param run: bound to the traffic Service
    :raises AdoptionRefused: it was, and cannot be taken over
    """
    legacy = run.environment.traffic.legacy
    if legacy:
        return Adoption(legacy, (f"slot {legacy.slot} is the adopted Deployment {legacy.deployment}",), done=True)
    service = await cluster.service(run.environment.traffic.service)
    if service is None or not service.selector:
        return None  # every step says what is wrong then
    if await _ours(run, cluster, service):
        return None
    pods = await cluster.pods(service.selector)
    found = Installation(service, pods, await cluster.deployments({}), await cluster.hpas())
    owners = behind((pod for pod in pods if not pod.deleting), found.deployments)
    found = await _with_helm_release(found, cluster, helm, owners)
    verdict = decide(found, run.environment.traffic, await _rendered(run, cluster, helm, owners))
    if isinstance(verdict, Refused):
        raise verdict.error()
    return Adoption(verdict.legacy, verdict.facts, tuple(sorted(found.objects)))


def announce_adoption(run: ReleaseRun, ledger: Ledger, found: Adoption | None) -> None:
    """Record what is to be adopted, before the gate: nothing else will be."""
    if found and not found.done:
        payload = {"legacy": found.legacy.model_dump(mode="json"), "objects": list(found.objects)}
        record(ledger, run, ADOPTION_PLANNED, payload)


async def adopt(run: ReleaseRun, cluster: Cluster, helm: Helm, ledger: Ledger) -> dict[str, Any]:
    """Take over the installation that the gate has been told about; nothing where there is none.

    :return: ``adopted`` and, when there is one, what was adopted
    :raises ApprovalMissing: no valid Go
    :raises LeaseError: another release has the environment
    :raises AdoptionRefused: it cannot be taken over, or is another than the one that was approved
    :raises PatchRefused: somebody else works on the Service or on the Helm release at the same time
    """
    found = await assess(run, cluster, helm)
    if found is None:
        log.info("nothing to adopt: the slot that takes the traffic is Stellwerk's own")
        return {"adopted": False}
    approval = require_release(ledger, run)
    log.info("approved by %s", ", ".join(approval.people))
    legacy = found.legacy
    if not found.done:
        require_release(ledger, run, datetime.now(UTC))
        _same_as_planned(ledger, run, legacy)
        legacy = legacy.model_copy(update={"at": datetime.now(UTC)})
    run = run.adopting(legacy)
    async with holding(run, cluster, ledger):
        service = await _permitted(run, cluster, ledger)
        await take_over(cluster, service, legacy, run.release_id)
        kept = await cluster.release_secrets.put_aside(legacy.helm_release) if legacy.helm_release else 0
        await _prove(run, cluster, legacy)
    for fact in found.facts:
        log.info("%s", fact)
    payload = {"adopted": True, "legacy": legacy.model_dump(mode="json", exclude={"at"}), "kept_revisions": kept}
    return dict((recorded(ledger, run, ADOPTED) or record(ledger, run, ADOPTED, payload)).payload)


async def undo(run: ReleaseRun, cluster: Cluster, ledger: Ledger, reason: str) -> dict[str, Any]:
    """Give an adopted installation back to the Helm release it came from; the traffic stays where it is.

    The run takes the Service over first: a release that is under way is fenced off and cannot cut over any more.
    Like everything that switches back it doesn't ask for the Lease (docs/adr/0007).

    :raises AdoptionRefused: the traffic is no longer on the adopted installation
    :raises PatchRefused: somebody else works on the Service at the same time
    """
    legacy = run.environment.traffic.legacy
    if legacy is None:
        if begun := recorded(ledger, run, ADOPTION_UNDO):
            return _undone(ledger, run, begun.payload)
        log.info("nothing to undo: no slot is an adopted installation")
        return {"undone": False}
    service = await cluster.service(run.environment.traffic.service)
    active = active_slot(service, run.environment.traffic)
    if active != legacy.slot:
        raise AdoptionRefused(
            f"the traffic is on {active}: the adopted installation is the way back",
            expected=f"the traffic on {legacy.slot} (Deployment {legacy.deployment})",
            seen=f"the traffic on {active}",
            remedy="switch back first (DAG rollback), then undo the adoption",
        )
    payload = {"deployment": legacy.deployment, "reason": reason}
    begun = record(ledger, run, ADOPTION_UNDO, payload, actor=_who(run))
    observed = await _permitted(run, cluster, ledger)
    service = await claim(cluster, run.environment.traffic, run.release_id, observed=observed)
    revisions = await cluster.release_secrets.bring_back(legacy.helm_release) if legacy.helm_release else 0
    done = await give_back(cluster, service, legacy, run.release_id)
    if dict(done.selector) != dict(legacy.former.selector):
        log.warning("the selector stays narrowed: pods of a new version would match the former one")
    log.info("Service %s is as it was, %d revision(s) are in Helm's sight again", done.name, revisions)
    return _undone(ledger, run, begun.payload)


def _undone(ledger: Ledger, run: ReleaseRun, begun: Mapping[str, Any]) -> dict[str, Any]:
    return dict(record(ledger, run, ADOPTION_UNDONE, {"undone": True, **begun}, actor=_who(run)).payload)


def _who(run: ReleaseRun) -> str:
    return run.triggered_by or "scheduler"


async def _ours(run: ReleaseRun, cluster: Cluster, service: ServiceState) -> bool:
    """Whether the Service belongs to no Helm release and names a slot that has a Deployment of its own."""
    if any(ownership(service)):
        return False
    try:
        slot = active_slot(service, run.environment.traffic)
    except UnknownSelector:
        return False
    return await cluster.deployment(run.environment.slot_release(slot)) is not None


async def _with_helm_release(
    found: Installation, cluster: Cluster, helm: Helm, owners: Iterable[DeploymentState]
) -> Installation:
    """Add the Helm release the Service belongs to.

    Where the Service doesn't name one, it may still be in the manifest of the Deployment's release: that release
    would reset it with its next upgrade, or delete it.
    """
    named = found.service.annotations.get(HELM_RELEASE)
    for release in [named] if named else [one.annotations.get(HELM_RELEASE) for one in owners]:
        objects = await _held_by(helm, release) if release else frozenset()
        if release and (named or f"Service/{found.service.name}" in objects):
            states = await cluster.release_secrets.states(release)
            return replace(found, helm_release=release, helm_states=states, objects=objects)
    return found


async def _held_by(helm: Helm, release: str) -> frozenset[str]:
    history = await helm.history(release)
    return kinds_and_names(await helm.manifest(release, history[-1].revision)) if history else frozenset()


async def _rendered(
    run: ReleaseRun, cluster: Cluster, helm: Helm, owners: tuple[DeploymentState, ...]
) -> Rendered:
    slot = other(legacy_slot(run.environment.traffic, owners[0])) if owners else "green"
    capabilities = Capabilities(await cluster.server_version(), (await cluster.inspector().api()).versions)
    name, values = run.environment.slot_release(slot), run.values(slot)
    manifests = await helm.template(name, run.chart, values, capabilities=capabilities)
    return Rendered(
        kinds_and_names(manifests), tuple(one.pod_labels for one in manifests if one.kind == "Deployment")
    )


def kinds_and_names(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Return ``Kind/name`` of every object; nothing of what is in it."""
    return frozenset(f"{one.kind}/{one.name}" for one in manifests)


def _same_as_planned(ledger: Ledger, run: ReleaseRun, legacy: Legacy) -> None:
    planned = Legacy.model_validate(require(ledger, run, ADOPTION_PLANNED, before="adoption").payload["legacy"])
    if planned != legacy:
        raise AdoptionRefused(
            "the installation is not the one that was approved",
            expected=planned.model_dump_json(exclude={"at"}),
            seen=legacy.model_dump_json(exclude={"at"}),
            remedy="start a new run: preflight looks again, and the gate decides about what is there now",
        )


async def _permitted(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> ServiceState:
    """Return the traffic Service, which this run may claim.

    :raises TrafficError: another release holds it
    """
    traffic = run.environment.traffic
    service = await cluster.service(traffic.service)
    if service is None:
        raise TrafficServiceMissing(f"traffic Service {traffic.service} not found", expected="it")
    ended = holder_ended(service, ledger) or overridden(run, ledger, release_id(service))
    decision = check_claim(foreseen(service, traffic), traffic, run.release_id, holder_ended=ended)
    if isinstance(decision, Refused):
        raise decision.error()
    return service


async def _prove(run: ReleaseRun, cluster: Cluster, legacy: Legacy) -> None:
    after = await bound(run, cluster)
    service = await cluster.service(run.environment.traffic.service)
    if after.environment.traffic.legacy is None or service is None or any(ownership(service)):
        raise PatchRefused(
            "somebody took the traffic Service back while it was being adopted",
            expected=f"Service {run.environment.traffic.service} with Deployment {legacy.deployment} as a slot",
            seen="Helm's ownership on it again" if service else "no such Service",
            remedy="stop the old pipeline; the task tries again",
        )
