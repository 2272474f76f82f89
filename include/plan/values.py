"""The Helm values a release is deployed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.plan.models import Environment, Release
from include.plan.slots import Slot


def slot_values(release: Release, environment: Environment, slot: Slot) -> dict[str, Any]:
    """The environment's values, the slot's laid over them, and what Stellwerk itself decides: image, slot, size.

    Where the chart scales itself (``autoscaling.enabled``), the plan's ``replicas`` become the autoscaler's
    minimum and ``replicaCount`` is left out: Helm and the autoscaler would fight over it.
    """
    values = merged(environment.values, environment.slots.get(slot, {}))
    image = {
        "repository": release.image.repository,
        "tag": release.image.tag,
        "digest": release.image.digest or "",
    }
    values = merged(values, {"image": image, "slot": slot})
    scaling = values.get("autoscaling")
    if isinstance(scaling, dict) and scaling.get("enabled"):
        values.pop("replicaCount", None)
        smallest = scaling.get("minReplicas")
        if not isinstance(smallest, int) or smallest < environment.replicas:
            scaling["minReplicas"] = environment.replicas
    else:
        values["replicaCount"] = environment.replicas
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base`` as Helm does it: mappings key by key, everything else replaced. Copies both."""
    result = {key: _copy(value) for key, value in base.items()}
    for key, value in over.items():
        below = result.get(key)
        result[key] = (
            merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else _copy(value)
        )
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(inner) for inner in value]
    return value
