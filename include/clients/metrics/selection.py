"""Which series of Prometheus are a slot's, as PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from include.plan.models import Environment
from include.plan.queries import fill_query
from include.plan.rules import Metrics
from include.plan.slots import Slot
from include.slo.moment import window_seconds

UP: Final = "up"
"""What Prometheus notes for each of its targets: 1 for one that could be scraped, 0 for one that could not."""


def sanitised(label: str) -> str:
    """A Kubernetes label's name as Prometheus' ``labelmap`` leaves it: ``app.kubernetes.io/name`` has no dots."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


def quoted(text: str) -> str:
    """A PromQL string."""
    return f'"{_escaped(text)}"'


def duration(seconds: float) -> str:
    """A PromQL duration, at least a millisecond."""
    whole = max(1, round(seconds * 1000))
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"


def matchers(environment: Environment, slot: Slot) -> str:
    """The label matchers that name a slot's series, without braces."""
    metrics = environment.slo.metrics
    labels = {metrics.namespace_label: environment.namespace}
    labels |= {sanitised(name): value for name, value in environment.traffic.selector_for(slot).items()}
    labels |= metrics.labels
    return ",".join(f"{name}={quoted(value)}" for name, value in labels.items())


def standard_names(metrics: Metrics) -> tuple[str, ...]:
    """The names of the series that make up a pod's sample."""
    return (
        metrics.requests, f"{metrics.latency}_bucket", metrics.sse_connections, metrics.memory_bytes,
        metrics.cpu_seconds, metrics.db_connections, metrics.started_at,
    )  # fmt: skip


def standard(environment: Environment, slot: Slot) -> str:
    """One selector for all that makes up the samples of a slot's pods; health endpoints are left out."""
    metrics, paths = environment.slo.metrics, environment.traffic.health_paths
    names = _one_of([UP, *standard_names(metrics)])
    parts = [f"__name__=~{names}", matchers(environment, slot)]
    if paths:
        parts.append(f"{metrics.path_label}!~{_one_of(paths)}")
    return f"{{{','.join(parts)}}}"


def filled(query: str, environment: Environment, slot: Slot) -> str:
    """A rule's own query for one slot."""
    values: Mapping[str, str] = {
        "slot": _escaped(slot),
        "namespace": _escaped(environment.namespace),
        "window": duration(window_seconds(environment.slo, environment.watch, "prometheus")),
        "selector": matchers(environment, slot),
    }
    return fill_query(query, values)


def _one_of(texts: Iterable[str]) -> str:
    return quoted("|".join(re.escape(text) for text in texts))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
