"""Whether a load has come to where it should: what pods have counted, held against what was sent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from include.clients.kubernetes import Cluster
from include.clients.openmetrics import snapshot
from include.load.figures import Figures
from include.plan.models import Traffic
from include.plan.slots import Slot
from include.plan.staging import LoadTest
from include.slo.samples import Snapshot
from include.steps.run import ReleaseRun

_ENOUGH: Final = 0.9
"""The share of what was sent that pods have to have counted: the last requests may not be in their metrics yet."""


async def counts(run: ReleaseRun, cluster: Cluster, slot: Slot) -> Snapshot:
    """What the pods of a slot have answered until now, health endpoints included."""
    traffic = run.environment.traffic.model_copy(update={"health_paths": ()})
    return await snapshot(cluster, traffic, slot, time.time(), names=run.environment.slo.metrics)


def went_elsewhere(plan: LoadTest, figures: Figures, traffic: Traffic, before: Snapshot, after: Snapshot) -> str:
    """Why it is not known that the load came to the slot; empty when it did. Pure.

    Health endpoints are no part of what was sent: not every application counts them. A plan that asks for nothing
    else cannot be held against anything.

    :param before: what its pods had counted before the load
    :param after: the same, after it
    """
    paths = {one.title: one.path for kind in plan.kinds for one in kind.requests}
    counted = [one for one in figures.asked if paths.get(one.name) not in traffic.health_paths]
    sent = sum(one.requests - one.failures for one in counted)
    if not sent:
        return ""
    if problem := "; ".join((*before.errors, *after.errors)):
        return f"whether the load came to {after.slot} is not known: {problem}"
    was, now = _by_pod(before), _by_pod(after)
    if gone := sorted(set(was) - set(now)):
        return f"whether the load came to {after.slot} is not known: {len(gone)} of its pods went meanwhile"
    arrived = sum(number - was.get(pod, 0.0) for pod, number in now.items())
    if arrived < _ENOUGH * sent:
        return (
            f"{sent} requests were answered rightly, and pods of {after.slot} have counted {arrived:.0f}: "
            f"see where {traffic.public_url} leads"
        )
    return ""


def _by_pod(seen: Snapshot) -> Mapping[str, float]:
    return {pod.pod_uid: sum(pod.requests.values()) for pod in seen.pods}
