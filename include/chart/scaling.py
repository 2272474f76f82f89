"""Rules about who decides how many pods there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.chart.context import SlotContext
from include.chart.finding import Finding, block, warn
from include.chart.manifest import Manifest, mapping


def replicas_with_autoscaler(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Where an autoscaler decides, the chart says nothing: Helm 4's upgrade fails, Helm 3 resets the size."""
    for scaler in _autoscalers(manifests):
        for one in manifests:
            if _scales(scaler, one) and mapping(one.document, "spec").get("replicas") is not None:
                yield block(
                    "replicas-with-autoscaler",
                    one,
                    f"it sets replicas and {scaler.object} scales it: Helm and the autoscaler would fight",
                    "leave spec.replicas out where the autoscaler is enabled",
                )


def autoscaler_bounds(context: SlotContext, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """The autoscaler lets the slot grow to what a cutover needs, and does not shrink it below."""
    application = context.application(manifests)
    needed = context.environment.replicas
    for scaler in _autoscalers(manifests):
        if application is None or not _scales(scaler, application):
            continue
        spec = mapping(scaler.document, "spec")
        largest, smallest = spec.get("maxReplicas"), spec.get("minReplicas", 1)
        if isinstance(largest, int) and largest < needed:
            yield block(
                "autoscaler-maximum",
                scaler,
                f"maxReplicas is {largest} and the plan needs {needed} ready pods before a cutover",
                f"raise maxReplicas to {needed} or more, or lower `replicas` of the environment",
            )
        elif isinstance(smallest, int) and smallest < needed:
            yield warn(
                "autoscaler-minimum",
                scaler,
                f"minReplicas is {smallest}: it may shrink the slot below the {needed} pods a cutover needs",
                f"raise minReplicas to {needed}",
            )


def _autoscalers(manifests: Sequence[Manifest]) -> list[Manifest]:
    return [one for one in manifests if one.kind == "HorizontalPodAutoscaler"]


def _scales(scaler: Manifest, one: Manifest) -> bool:
    target = mapping(scaler.document, "spec", "scaleTargetRef")
    return (target.get("kind"), target.get("name")) == (one.kind, one.name)
