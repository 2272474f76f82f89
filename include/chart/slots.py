"""Rules about the two slots together: what one of them owns the other one must not touch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from include.chart.finding import Finding, block, warn
from include.chart.manifest import Manifest, mapping, sequence, subset
from include.plan.models import Environment

_NAME_REMEDY = "put {{ .Release.Name }} into its name: each slot is a Helm release of its own"


@dataclass(frozen=True)
class TwoSlots:
    """What the chart renders to for each slot of an environment.

    :param target: for the slot that the release goes to; findings name its files
    :param other: for the slot that serves users
    """

    environment: Environment
    target: Sequence[Manifest]
    other: Sequence[Manifest]


def shared_objects(slots: TwoSlots) -> Iterator[Finding]:
    """No object belongs to both: the second Helm release would take it from the first, or fail half-way."""
    theirs = {_identity(one, slots.environment) for one in slots.other if not one.is_test}
    for one in slots.target:
        if not one.is_test and _identity(one, slots.environment) in theirs:
            yield block("slots-share-object", one, "both slots would own it", _NAME_REMEDY)


def shared_claims(slots: TwoSlots) -> Iterator[Finding]:
    """No PersistentVolumeClaim of one slot's StatefulSets is the other one's."""
    theirs = [pattern for one in slots.other for pattern in _claims(one)]
    own = [one for one in slots.target if one.kind == "PersistentVolumeClaim"]
    for claim in own:
        if any(re.fullmatch(pattern, claim.name) for pattern in theirs):
            yield block("slots-share-claim", claim, "a StatefulSet of the other slot claims it", _NAME_REMEDY)
    for one in slots.target:
        if shared := sorted(set(_claims(one)) & set(theirs)):
            names = ", ".join(pattern.replace(r"\d+", "0").replace("\\", "") for pattern in shared)
            yield block("slots-share-claim", one, f"both slots would claim {names}", _NAME_REMEDY)
    for one in slots.target:
        for name in sorted(_mounted(one) & {name for other in slots.other for name in _mounted(other)}):
            yield warn(
                "shared-volume",
                one,
                f"pods of both slots mount the claim {name}",
                "make sure that both versions may write to it at once (ReadWriteMany, same format)",
            )


def shared_addresses(slots: TwoSlots) -> Iterator[Finding]:
    """No Ingress rule and no fixed port of a node is claimed by both, and none goes around the traffic Service."""
    routes = {route for one in slots.other for route in _routes(one)}
    ports = {port for one in slots.other for port in _node_ports(one)}
    public = urlsplit(slots.environment.traffic.public_url).hostname or ""
    for one in slots.target:
        for host, path in sorted(_routes(one)):
            if (host, path) in routes:
                yield block(
                    "slots-share-route",
                    one,
                    f"both slots would answer {host or 'every host'}{path}",
                    "take the Ingress out of the chart and let it lead to the traffic Service",
                )
            elif host == public:
                yield block(
                    "route-around-traffic",
                    one,
                    f"it leads users at {host} to this slot, whatever the traffic Service selects",
                    "take it out of the chart and let it lead to the traffic Service",
                )
        for port in sorted(_node_ports(one) & ports):
            yield block(
                "slots-share-port",
                one,
                f"both slots would take port {port} of every node",
                "leave nodePort out, or set another one for each slot",
            )


def traffic_services(slots: TwoSlots) -> Iterator[Finding]:
    """The traffic and the preview Service belong to no slot: helm would reset their selectors or delete them."""
    traffic = slots.environment.traffic
    for one in {one.object: one for one in (*slots.other, *slots.target)}.values():
        if one.kind == "Service" and one.name in (traffic.service, traffic.preview_service):
            yield block(
                "traffic-service",
                one,
                "the chart owns the Service that users come through: helm would reset or delete it",
                "take it out of the chart; a Service of the slot's own is called {{ .Release.Name }}",
            )


def crossing_selectors(slots: TwoSlots) -> Iterator[Finding]:
    """What one slot selects is not the other slot's."""
    theirs = [one for one in slots.other if one.template is not None]
    for one in slots.target:
        reached = sorted({other.object for other in theirs if subset(one.selector, other.pod_labels)})
        if not reached or one.hooks:
            continue
        if one.kind == "Service":
            yield warn(
                "shared-service",
                one,
                f"it also reaches pods of the other slot ({', '.join(reached)})",
                "add app.kubernetes.io/instance: {{ .Release.Name }} to its selector and to the pods",
            )
        elif one.template is not None:
            yield block(
                "slots-share-pods",
                one,
                f"its selector also matches pods of the other slot ({', '.join(reached)})",
                "add the slot label to spec.selector.matchLabels (a new Deployment: a selector cannot change)",
            )


def _identity(one: Manifest, environment: Environment) -> tuple[str, str, str, str]:
    # Without discovery nobody knows what has no namespace; for that the namespace is the same in both slots.
    return (one.group, one.kind, one.namespace or environment.namespace, one.name)


def _claims(one: Manifest) -> list[str]:
    """Patterns of the names of the claims that a StatefulSet's pods make."""
    if one.kind != "StatefulSet":
        return []
    templates = sequence(one.document, "spec", "volumeClaimTemplates")
    names = (str(mapping(template, "metadata").get("name")) for template in templates)
    return [rf"{re.escape(name)}\-{re.escape(one.name)}\-\d+" for name in names]


def _mounted(one: Manifest) -> set[str]:
    volumes = sequence(mapping(one.template or {}, "spec"), "volumes")
    names = (mapping(volume, "persistentVolumeClaim").get("claimName") for volume in volumes)
    return {str(name) for name in names if name}


def _routes(one: Manifest) -> set[tuple[str, str]]:
    if one.kind != "Ingress":
        return set()
    return {
        (str(rule.get("host") or ""), str(path.get("path") or "/"))
        for rule in sequence(one.document, "spec", "rules")
        for path in sequence(rule, "http", "paths") or ({},)
    }


def _node_ports(one: Manifest) -> set[int]:
    if one.kind != "Service":
        return set()
    ports: list[Any] = [port.get("nodePort") for port in sequence(one.document, "spec", "ports")]
    ports.append(mapping(one.document, "spec").get("healthCheckNodePort"))
    return {port for port in ports if isinstance(port, int) and port}
