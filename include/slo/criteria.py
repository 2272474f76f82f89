"""The success criteria, each applied to what happened in a window: a poll's or the whole watch."""

from __future__ import annotations

from collections.abc import Iterator

from include.plan.rules import Criteria, Watch
from include.slo.samples import Snapshot
from include.slo.verdict import Finding, milliseconds, percent
from include.slo.window import WindowStats, window_stats


def error_rate(criteria: Criteria, watch: Watch, stats: WindowStats) -> Finding:
    """The share of failed requests, UNKNOWN below ``min_requests`` unless it is bad beyond doubt."""
    rule, limit = "criteria.error_rate", criteria.error_rate.limit
    rate = stats.error_rate
    if stats.requests < watch.min_requests:
        if stats.errors >= watch.min_errors and stats.error_interval.low >= limit:
            return Finding(rule, "DEGRADED", f"{error_text(stats)}, not below {limit_text(limit)}")
        return Finding(
            rule,
            "UNKNOWN",
            f"too little traffic: {stats.requests} requests in {stats.span_seconds:.0f} s, "
            f"{watch.min_requests} are needed for a judgement",
        )
    if rate is not None and rate < limit:
        return Finding(rule, "HEALTHY", f"{error_text(stats)}, below {limit_text(limit)}")
    return Finding(rule, "DEGRADED", f"{error_text(stats)}, not below {limit_text(limit)}")


def latency(criteria: Criteria, watch: Watch, stats: WindowStats) -> Iterator[Finding]:
    """The 95th percentile; nothing below ``min_requests``, which :func:`error_rate` has said already."""
    if stats.requests < watch.min_requests:
        return
    rule, p95 = "criteria.p95_seconds", stats.p95
    if p95 is None:
        yield Finding(rule, "UNKNOWN", f"no latencies were reported for {stats.requests} requests")
        return
    text = f"P95 {p95} of {stats.requests} requests in {stats.span_seconds:.0f} s"
    if p95.seconds < criteria.p95_seconds.limit and not p95.at_least:
        yield Finding(rule, "HEALTHY", f"{text}, below {milliseconds(criteria.p95_seconds.limit)}")
    else:
        yield Finding(rule, "DEGRADED", f"{text}, not below {milliseconds(criteria.p95_seconds.limit)}")


def resources(criteria: Criteria, stats: WindowStats) -> Iterator[Finding]:
    """Memory and processor use of the largest pod, where the plan sets a limit."""
    memory = criteria.memory_bytes.limit if criteria.memory_bytes else None
    for name, limit, value, unit, scale in (("memory_bytes", memory, stats.memory_bytes, "MB of memory", 1e6),):
        rule = f"criteria.{name}"
        if limit is None:
            continue
        if value is None:
            yield Finding(rule, "UNKNOWN", f"no pod reported {unit}")
        elif value >= limit:
            yield Finding(
                rule, "DEGRADED", f"a pod uses {value / scale:.4g} {unit}, not below {limit / scale:.4g}"
            )


def streams(criteria: Criteria, stats: WindowStats, beside: Snapshot | None) -> Iterator[Finding]:
    """Event streams of both slots together: users on the slot that was left are served, too."""
    if criteria.sse_connections is None:
        return
    wanted = criteria.sse_connections.limit
    rule = "criteria.sse_connections"
    if stats.sse_connections is None:
        yield Finding(rule, "UNKNOWN", "no pod reported its event streams")
        return
    lingering = (window_stats([beside]).sse_connections or 0) if beside else 0
    count = stats.sse_connections + lingering
    if count < wanted:
        yield Finding(
            rule,
            "DEGRADED",
            f"{count} event streams are open ({lingering} of them on the slot that was left), {wanted:g} wanted",
        )


def error_text(stats: WindowStats) -> str:
    """The error rate with everything that says how much it proves."""
    rate = stats.error_rate or 0.0
    return (
        f"error rate {percent(rate)} of {stats.requests} requests in {stats.span_seconds:.0f} s, "
        f"95 % interval {stats.error_interval}"
    )


def limit_text(share: float) -> str:
    """``0.05`` as ``5 %``."""
    return f"{100 * share:g} %"
