"""Whether an installation from before Stellwerk can become one of the slots without touching the traffic.

It stays as it is: its Deployment becomes a slot, selected by labels that all its pods carry now and later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from include.bluegreen.adopted import ownership
from include.bluegreen.decisions import Refused
from include.bluegreen.slots import Slot, other
from include.bluegreen.state import DeploymentState, HpaState, PodState, ServiceState
from include.errors import AdoptionRefused
from include.plan.legacy import Former, Labels, Legacy
from include.plan.models import Traffic

INSTANCE: Final = "app.kubernetes.io/instance"
_UNSETTLED: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback", "uninstalling"})


@dataclass(frozen=True)
class Rendered:
    """What the chart renders to for the slot that is not adopted: ``Kind/name`` of all objects, labels of pods."""

    objects: frozenset[str]
    pod_labels: tuple[Labels, ...]


@dataclass(frozen=True)
class Installation:
    """What was found behind the traffic Service.

    :param pods: those its selector matches
    :param deployments: all of the namespace
    :param helm_release: the Helm release the Service belongs to, empty for none
    :param helm_states: the states of that release's revisions
    :param objects: ``Kind/name`` of all objects of that release
    """

    service: ServiceState
    pods: tuple[PodState, ...]
    deployments: tuple[DeploymentState, ...]
    hpas: tuple[HpaState, ...] = ()
    helm_release: str = ""
    helm_states: tuple[str, ...] = ()
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Adoptable:
    """It can be taken over; ``legacy`` is what it becomes, ``facts`` are for those who decide at the gate."""

    legacy: Legacy
    facts: tuple[str, ...]


def behind(pods: Iterable[PodState], deployments: Iterable[DeploymentState]) -> tuple[DeploymentState, ...]:
    """The Deployments that know any of the pods as theirs."""
    pods = tuple(pods)
    return tuple(one for one in deployments if any(matches(one.match_labels, pod.labels) for pod in pods))


def matches(selector: Labels, labels: Labels) -> bool:
    """Whether a selector selects an object with these labels; an empty one selects nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def legacy_slot(traffic: Traffic, deployment: DeploymentState) -> Slot:
    """Which slot the Deployment becomes: blue, unless green's selector would match its pods."""
    return "green" if matches(traffic.selector_for("green"), deployment.pod_labels) else "blue"


def decide(found: Installation, traffic: Traffic, rendered: Rendered) -> Adoptable | Refused:
    """Whether the installation can be taken over.

    :param traffic: not bound to any adopted installation
    :param rendered: the chart as the other slot would get it
    """
    present = [pod for pod in found.pods if not pod.deleting]
    deployment = _only_deployment(found, present)
    if isinstance(deployment, Refused):
        return deployment
    if refusal := _not_at_rest(found, deployment, present) or _collision(found, rendered):
        return refusal
    slot = legacy_slot(traffic, deployment)
    foreign = (*rendered.pod_labels, traffic.selector_for(other(slot)))
    selector = _selector(found.service, deployment, present, foreign)
    if selector is None:
        return _refused(
            f"no selector tells the pods of Deployment {deployment.name} from those of the new version",
            expected=f"a label that only these pods carry, and every later one, for example {INSTANCE}",
            seen=f"selector {_text(found.service.selector)}, new pods of it {_text(deployment.pod_labels)}",
            remedy=f"deploy what runs once more with a label {INSTANCE} in its pod template, then start again",
        )
    labels, annotations = ownership(found.service)
    legacy = Legacy(
        slot=slot,
        selector=selector,
        deployment=deployment.name,
        hpa=next((hpa.name for hpa in found.hpas if hpa.target == deployment.name), ""),
        helm_release=found.helm_release,
        former=Former(selector=dict(found.service.selector), labels=labels, annotations=annotations),
    )
    return Adoptable(legacy, _facts(found, legacy))


def _only_deployment(found: Installation, present: list[PodState]) -> DeploymentState | Refused:
    owners = behind(present, found.deployments)
    stray = [pod.name for pod in present if not behind([pod], owners)]
    if len(owners) == 1 and not stray:
        return owners[0]
    seen = [f"Deployment {one.name}" for one in owners] + [f"pod {name} of none" for name in stray]
    return _refused(
        f"what Service {found.service.name} sends traffic to is not one Deployment",
        expected="pods of exactly one Deployment",
        seen=", ".join(seen) or "no pod",
        remedy="let the Service select the pods of one Deployment (bring them up first), then start again",
    )


def _not_at_rest(found: Installation, deployment: DeploymentState, present: list[PodState]) -> Refused | None:
    rest = "an installation at rest"
    if unsettled := sorted(_UNSETTLED.intersection(found.helm_states)):
        return _refused(
            f"a Helm operation on {found.helm_release} is under way, or was interrupted",
            expected=rest,
            seen=", ".join(unsettled),
            remedy=f"let it end, or repair it (helm history {found.helm_release}), then start again",
        )
    if not any(pod.ready for pod in present):
        return _refused(
            f"Deployment {deployment.name} has no ready pod",
            expected=rest,
            seen=f"{len(present)} pod(s), none ready",
            remedy="bring it up first: it is what users reach and what a rollback returns to",
        )
    unread = deployment.observed_generation < deployment.generation
    if unread or deployment.outdated:  # an autoscaler that adds pods of the same template changes nothing
        pods = f"{deployment.outdated} pod(s) of an earlier template, {deployment.updated} of the present one"
        return _refused(
            f"Deployment {deployment.name} is being rolled out",
            expected=rest,
            seen="a change Kubernetes has not acted on yet" if unread else pods,
            remedy="let the rollout end, then start again",
        )
    return None


def _collision(found: Installation, rendered: Rendered) -> Refused | None:
    service = f"Service/{found.service.name}"
    if service in rendered.objects:
        return _refused(
            f"the chart renders the traffic Service {found.service.name} itself: Helm would take it back",
            expected="a traffic Service that belongs to no Helm release",
            seen=f"{service} in the rendered chart",
            remedy="take the traffic Service out of the chart (or switch it off in `values`)",
        )
    if same := sorted(rendered.objects & found.objects):
        return _refused(
            f"the chart's objects of a slot are those of Helm release {found.helm_release}",
            expected="objects named after the Helm release, so that old and new can stand side by side",
            seen=", ".join(same),
            remedy="name the chart's objects after {{ .Release.Name }}",
        )
    return None


def _selector(
    service: ServiceState, deployment: DeploymentState, present: list[PodState], foreign: tuple[Labels, ...]
) -> dict[str, str] | None:
    """The widest selector that matches the same pods as now, all later ones, and none of a new version."""
    instance = {key: value for key, value in deployment.pod_labels.items() if key == INSTANCE}
    more: Mapping[str, str]
    for more in ({}, deployment.match_labels, instance):
        selector = {**service.selector, **more}
        if (
            matches(selector, deployment.pod_labels)
            and all(matches(selector, pod.labels) for pod in present)
            and not any(matches(selector, labels) for labels in foreign)
        ):
            return selector
    return None


def _facts(found: Installation, legacy: Legacy) -> tuple[str, ...]:
    service, old = found.service, f"Deployment {legacy.deployment}"
    if legacy.hpa:
        old += f" (with autoscaler {legacy.hpa})"
    facts = [f"adoption: {old} stays as it is and becomes slot {legacy.slot}"]
    if legacy.helm_release:
        facts.append(
            f"adoption: Service {service.name} leaves Helm release {legacy.helm_release}; its "
            f"{len(found.helm_states)} revision(s) are kept where Helm does not see them, and the old pipeline's "
            "`helm upgrade` refuses from then on"
        )
    if dict(legacy.selector) != dict(service.selector):
        now, then = _text(service.selector), _text(legacy.selector)
        facts.append(f"adoption: the selector of {service.name} is narrowed from {now} to {then}, the same pods")
    facts.append("adoption: until the cutover DAG undo-adoption takes it back, afterwards a switch back does")
    facts.append(f"adoption: the clean-up will delete {old}, and nothing else of the old installation")
    return tuple(facts)


def _refused(what: str, *, expected: str, seen: str, remedy: str) -> Refused:
    return Refused(what, kind=AdoptionRefused, expected=expected, seen=seen, remedy=remedy)


def _text(selector: Labels) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
