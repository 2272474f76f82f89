"""The verdict on a slot at one moment of the watch.

Two windows are looked at: the short one finds a fault within seconds, the long one gathers evidence where traffic
is thin. Triggers also look at the newest interval, what the last look or scrape brought, by a much stricter
bound. A trigger fires when the confidence interval of what was counted lies above it, however young the window
is; health needs a number of requests, data from every pod, and data of now. What is not known is UNKNOWN: never
healthy, and never by itself a reason to roll back. Metrics that are out leave the decision to the prober.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from include.plan.rules import SloRules, Watch
from include.slo.criteria import criteria
from include.slo.moment import Moment, View, allowed_age_seconds, window_seconds
from include.slo.pods import probe
from include.slo.samples import Observed
from include.slo.triggers import triggers
from include.slo.verdict import Finding, Verdict, heaviest, said

# What is not there yet in the first moments of a watch.
_EARLY: Final = frozenset({"criteria.error_rate", "criteria.p95_seconds", "criteria.logs", "criteria.cpu_ratio"})


def retention_seconds(rules: SloRules, watch: Watch) -> float:
    """How long a watcher has to keep what it observed for :func:`evaluate`."""
    window = max(window_seconds(rules, watch, source) for source in rules.sources)
    age = max(allowed_age_seconds(rules, watch, source) for source in rules.sources)
    longest = max((rule.for_seconds for _, rule in rules.named()), default=0.0)
    look_back = 2 * max(watch.lookback_seconds, window) + longest
    # A run that is interrupted by looks that do not know takes longer than what it proves.
    lasting = 2 * max(rules.triggers.down_seconds, longest, watch.page_after_seconds) + 2 * window
    return max(look_back, lasting) + age


def evaluate(rules: SloRules, watch: Watch, observed: Observed, now: float, *, cutover_at: float) -> Verdict:
    """Judge the watched slot.

    :param observed: since the cutover, at most :func:`retention_seconds` old
    :param now: seconds since the epoch
    :param cutover_at: when the traffic came, seconds since the epoch; event streams are forgiven for a while after
    :raises ValueError: snapshots of both slots
    """
    if len({snapshot.slot for snapshots in observed.metrics.values() for snapshot in snapshots}) > 1:
        raise ValueError("snapshots of both slots: a release is judged by the active slot's series alone")
    moment = Moment(rules, watch, observed, now, cutover_at)
    probed = probe(moment)
    findings = [*triggers(moment), *_data(moment, probed), *criteria(moment), probed]
    worst = heaviest(findings).state
    # That the public URL fails, and for how long, is what the trigger says.
    speaking = findings[:-1] if probed.state == "DEGRADED" else findings
    return Verdict(
        state=worst,
        sentence=said(speaking, worst),
        findings=tuple(findings),
        stats=moment.view(rules.source).short,
        gathering=worst == "UNKNOWN" and _early(moment, findings),
        page=_page(moment, probed),
        measures=_measures(moment),
    )


def _data(moment: Moment, probed: Finding) -> Iterator[Finding]:
    """One finding for each source that says nothing about now."""
    for view in _views(moment):
        if view.missing:
            yield Finding(f"data.{view.source}", "UNKNOWN", f"{view.missing}{_meanwhile(probed)}")


def _meanwhile(probed: Finding) -> str:
    answers = probed.state == "HEALTHY"
    return "; the public URL answers, so nothing is rolled back and nothing has passed" if answers else ""


def _page(moment: Moment, probed: Finding) -> str:
    """Why a human has to know: a source, or the prober, has been blind for ``page_after_seconds``."""
    limit = moment.watch.page_after_seconds
    for view in _views(moment):
        since = max(view.whole_at if view.whole_at is not None else moment.cutover_at, moment.cutover_at)
        if view.missing and moment.now - since >= limit:
            lasted = moment.now - since
            return f"nothing is known from {view.source} for {lasted:.0f} s: {view.missing}{_meanwhile(probed)}"
    if probed.state == "UNKNOWN":
        since = next((p.at for p in moment.probes if p.state != "unusable"), moment.cutover_at)
        if moment.now - since >= limit:
            return f"the prober is blind for {moment.now - since:.0f} s: {probed.sentence}"
    return ""


def _early(moment: Moment, findings: list[Finding]) -> bool:
    """Whether the first window is not full yet and nothing but that is to blame."""
    young = all(
        view.known and moment.now - view.known[0].taken_at < view.window_seconds for view in _views(moment)
    )
    return young and all(f.state != "UNKNOWN" or f.rule in _EARLY for f in findings)


def _views(moment: Moment) -> list[View]:
    return [moment.view(source) for source in sorted(moment.rules.sources)]


def _measures(moment: Moment) -> dict[str, float | int | str | None]:
    stats, logs = moment.view(moment.rules.source).short, moment.observed.logs
    return {
        "sse_connections": stats.sse_connections,
        "db_connections": stats.db_connections,
        "memory_bytes": max(stats.memory_bytes.values(), default=None),
        "log_warnings": sum(1 for s in logs.new if s.level == "warning") if logs else None,
    }
