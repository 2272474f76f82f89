"""How many endpoints a slot has and needs."""

from __future__ import annotations

from collections.abc import Iterable

from include.bluegreen.state import Endpoint, HpaState


def required_endpoints(replicas: int, active_ready: int) -> int:
    """How many ready endpoints a slot needs before it may take the traffic: never fewer than serve it now."""
    return max(replicas, active_ready, 1)


def usable_endpoints(endpoints: Iterable[Endpoint], port: str) -> int:
    """How many pods can take a connection now: ready, not on their way out, and serving the named port."""
    return len({e.pod_uid for e in endpoints if e.ready and not e.terminating and port in e.ports})


def pinned_minimum(hpa: HpaState, ready: int) -> int:
    """The ``minReplicas`` that keeps a slot at its present size while it is idle."""
    return min(max(hpa.min_replicas, ready), hpa.max_replicas)
