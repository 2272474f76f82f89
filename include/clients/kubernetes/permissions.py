"""The rights a release needs in the application's namespace; deploy/rbac.yaml grants exactly these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from include.chart.manifest import Manifest
from include.clients.kubernetes.discovery import Api


@dataclass(frozen=True)
class Permission:
    """Verbs on one resource.

    :param group: API group; ``""`` is the core
    :param resource: plural, with its subresource: ``deployments/scale``
    :param why: what would not work without it
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Right:
    """One verb on one resource; ``namespace`` is None for a resource that has none."""

    group: str
    resource: str
    verb: str
    namespace: str | None
    why: str = field(compare=False, default="")


NEEDED: Final[tuple[Permission, ...]] = (
    Permission(
        "", "services", ("get", "patch"), "reads the traffic and preview Services and points them at a slot"
    ),
    Permission("discovery.k8s.io", "endpointslices", ("list",), "counts who stands ready behind a Service"),
    Permission("", "pods", ("list",), "waits for the pods of a slot and diagnoses those that do not come up"),
    Permission("", "pods/log", ("get",), "shows the last words of a pod that does not come up"),
    Permission("", "pods/proxy", ("get",), "reads the metrics of every single pod, which the watch judges"),
    Permission("", "events", ("list",), "shows what the cluster says about a pod that does not come up"),
    Permission(
        "apps",
        "deployments",
        ("get", "list", "patch", "delete"),
        "reads the slots' Deployments, drains them, deletes an adopted one",
    ),
    Permission("apps", "deployments/scale", ("patch",), "sets the size of a slot"),
    Permission("apps", "replicasets", ("list",), "waits for a rollout, and tells new pods from former ones"),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        ("list", "patch", "delete"),
        "pins the size of the slot it leaves, deletes an adopted one",
    ),
    Permission("coordination.k8s.io", "leases", ("get", "create", "update", "delete"), "one release at a time"),
    Permission(
        "", "secrets", ("get", "list", "create", "update", "delete"), "keeps the Helm releases and their history"
    ),
)
"""What every release needs, whatever its chart."""

CHART_VERBS: Final = ("get", "list", "watch", "create", "patch", "delete")
"""What Helm needs for every kind that the chart renders to: it applies, waits and removes."""


def rights(api: Api, manifests: Iterable[Manifest], namespace: str) -> list[Right]:
    """Every right that a release of these objects needs, each once."""
    found = {
        Right(one.group, one.resource, verb, namespace, one.why): None for one in NEEDED for verb in one.verbs
    }
    for manifest in manifests:
        resource = api.find(manifest.api_version, manifest.kind)
        if resource is None or manifest.is_test:
            continue
        place = (manifest.namespace or namespace) if resource.namespaced else None
        why = f"installs {manifest.object} ({manifest.source})"
        for verb in CHART_VERBS:
            found.setdefault(Right(resource.group, resource.resource, verb, place, why))
    return list(found)
