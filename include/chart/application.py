"""Rules about the application's own Deployment: the engine scales, selects and asks exactly this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.chart.context import SlotContext
from include.chart.finding import Finding, block
from include.chart.manifest import Manifest, sequence, subset, workloads
from include.plan.slots import SLOTS


def deployment_name(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """A Deployment is called like the slot's Helm release: it is scaled, watched and restarted by this name."""
    names = [one.name for one in manifests if one.kind == "Deployment" and not one.hooks]
    if context.name in names:
        return
    application = context.application(manifests)
    yield Finding(
        "deployment-name",
        "block",
        application.object if application else "",
        application.source if application else "",
        f"no Deployment is called {context.name} (there are: {', '.join(names) or 'none'})",
        "name the application's Deployment {{ .Release.Name }} (fullnameOverride in many charts)",
    )


def slot_labels(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """The application's pods carry the whole selector of their slot."""
    application = context.application(manifests)
    if application is None:
        return
    labels = application.pod_labels
    for key, value in sorted(context.environment.traffic.selector_for(context.slot).items()):
        if labels.get(key) != value:
            seen = f"has {labels[key]!r}" if key in labels else "lacks the label"
            yield block(
                "slot-labels",
                application,
                f"the pod template {seen} where the traffic Service selects {key}={value}",
                f"set {key}: {value} in spec.template.metadata.labels (the slot comes as .Values.slot)",
            )


def only_application(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Nothing but the application's pods matches what the traffic Service selects."""
    application = context.application(manifests)
    selectors = [context.environment.traffic.selector_for(slot) for slot in SLOTS]
    for one in workloads(manifests):
        if one is not application and any(subset(selector, one.pod_labels) for selector in selectors):
            yield block(
                "foreign-pods",
                one,
                "its pods match the traffic Service's selector: users would be sent to them",
                "take a label of the selector away from these pods, or give them another value",
            )


def readiness_probe(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """The container that serves users says itself when it is ready."""
    application = context.application(manifests)
    serving = _serving(context, application)
    if application and serving and not serving.get("readinessProbe"):
        yield block(
            "readiness-probe",
            application,
            f"container {serving.get('name')} has no readinessProbe: it would get traffic before it can answer",
            "add a readinessProbe that asks the application itself",
        )


def serving_port(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """The port that the traffic Service names exists: without it a pod is ready and refuses every connection."""
    application = context.application(manifests)
    if application is None:
        return
    names = sorted({str(port.get("name")) for port in _ports(application)})
    for target in context.target_ports:
        if target not in names:
            yield block(
                "port-name",
                application,
                f"no container port is called {target} (there are: {', '.join(names) or 'none'})",
                f"name the port that serves users {target}: the Services' targetPort is {target}",
            )


def release_image(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """The Deployment runs the image that the release names."""
    application = context.application(manifests)
    if application is None:
        return
    images = [str(container.get("image", "")) for container in application.containers]
    if not any(map(context.runs, images)):
        yield block(
            "release-image",
            application,
            f"the release's image {context.image.reference} is not deployed, but {', '.join(images) or 'none'}",
            "let the chart take image.repository, image.tag and image.digest from its values",
        )


def _serving(context: SlotContext, application: Manifest | None) -> Mapping[str, Any] | None:
    containers = application.containers if application else ()
    for container in containers:
        if any(port.get("name") in context.target_ports for port in sequence(container, "ports")):
            return container
    return next(iter(containers), None)


def _ports(application: Manifest) -> Iterator[Mapping[str, Any]]:
    return (port for container in application.containers for port in sequence(container, "ports"))
