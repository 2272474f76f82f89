"""The success criteria, each applied to what happened in a window: a poll's or the whole watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from include.plan.rules import Rule, Watch
from include.slo.moment import Moment, sustained
from include.slo.pods import logs, pods
from include.slo.readings import by_query
from include.slo.resources import cpu, memory
from include.slo.streams import connections, reconnects
from include.slo.texts import error_text, limit_text
from include.slo.verdict import Finding, milliseconds
from include.slo.window import WindowStats

MOMENTARY: Final = ("memory_bytes", "sse_connections", "sse_reconnect_ratio", "logs")
"""Criteria that have no meaning over a span: they have to hold at every moment."""


def criteria(moment: Moment) -> Iterator[Finding]:
    """Judge every criterion the plan sets whose source shows everything; those of others are not known anyway."""
    rules = moment.rules.criteria
    judges: tuple[tuple[str, Callable[[Moment, Rule], Finding]], ...] = (
        ("error_rate", _error_rate_now),
        ("p95_seconds", _latency_now),
        ("memory_bytes", memory),
        ("cpu_ratio", cpu),
        ("sse_connections", connections),
        ("sse_reconnect_ratio", reconnects),
    )
    for field, judge in judges:
        rule: Rule | None = getattr(rules, field)
        if rule is None or moment.view(rule).missing or (field.startswith("sse_") and _forgiven(moment)):
            continue
        if rule.query is not None:
            yield by_query(moment, f"criteria.{field}", rule, broken="DEGRADED", meanwhile="HEALTHY")
        else:
            yield sustained(moment, rule, judge, broken="DEGRADED", meanwhile="HEALTHY")
    if (growth := rules.memory_growth_ratio) is not None and growth.query is not None:
        yield by_query(moment, "criteria.memory_growth_ratio", growth, broken="DEGRADED", meanwhile="HEALTHY")
    for named in rules.more:
        yield by_query(moment, f"criteria.more.{named.name}", named, broken="DEGRADED", meanwhile="HEALTHY")
    if rules.pods:
        yield pods(moment)
    if rules.logs:
        yield logs(moment)


def error_rate(rule: Rule, watch: Watch, stats: WindowStats) -> Finding:
    """The share of failed requests, UNKNOWN below ``min_requests`` unless it is bad beyond doubt."""
    name, rate, needed = "criteria.error_rate", stats.error_rate, needed_requests(rule, watch)
    if stats.requests < needed:
        if stats.errors >= watch.min_errors and stats.error_interval.low >= rule.limit:
            return Finding(name, "DEGRADED", f"{error_text(stats)}, not below {limit_text(rule.limit)}")
        return Finding(
            name,
            "UNKNOWN",
            f"too little traffic: {stats.requests} requests in {stats.span_seconds:.0f} s, "
            f"{needed} are needed for a judgement",
        )
    if rate is not None and rate < rule.limit:
        return Finding(name, "HEALTHY", f"{error_text(stats)}, below {limit_text(rule.limit)}")
    return Finding(name, "DEGRADED", f"{error_text(stats)}, not below {limit_text(rule.limit)}")


def latency(rule: Rule, watch: Watch, stats: WindowStats) -> Finding:
    """The 95th percentile, UNKNOWN below ``min_requests``."""
    name, p95, needed = "criteria.p95_seconds", stats.p95, needed_requests(rule, watch)
    if stats.requests < needed:
        return Finding(name, "UNKNOWN", f"too few requests for a P95: {stats.requests} of {needed}")
    if p95 is None:
        return Finding(name, "UNKNOWN", f"no latencies were reported for {stats.requests} requests")
    text = f"P95 {p95} of {stats.requests} requests in {stats.span_seconds:.0f} s"
    if p95.seconds < rule.limit and not p95.at_least:
        return Finding(name, "HEALTHY", f"{text}, below {milliseconds(rule.limit)}")
    return Finding(name, "DEGRADED", f"{text}, not below {milliseconds(rule.limit)}")


def needed_requests(rule: Rule, watch: Watch) -> int:
    """How many requests a judgement takes: the rule's own number, else the watch's."""
    return watch.min_requests if rule.min_requests is None else rule.min_requests


def _error_rate_now(moment: Moment, rule: Rule) -> Finding:
    return error_rate(rule, moment.watch, _enough(moment, rule))


def _latency_now(moment: Moment, rule: Rule) -> Finding:
    return latency(rule, moment.watch, _enough(moment, rule))


def _enough(moment: Moment, rule: Rule) -> WindowStats:
    """The short window where it holds enough requests, else the long one."""
    view = moment.view(rule)
    return view.short if view.short.requests >= needed_requests(rule, moment.watch) else view.long


def _forgiven(moment: Moment) -> bool:
    return moment.now - moment.cutover_at < moment.watch.sse_grace_seconds
