"""The rollback triggers: each is broken only beyond doubt, and says what it saw.

Error rate and latency are looked at in three spans: the short window and the long one by a 95 % interval, and the
newest interval (what the last look or scrape brought) by one of z = 4, 99.99 %. That one is new at every poll,
3600 times an hour at a poll a second, so what is rare in one of them is not in an hour. At 100 requests a second
and 95 % it would call a release of 3 % errors three times an hour by chance alone. By z = 4 it calls one that is
exactly at the limit of 5 % 1.7 times an hour, one of 3 % once in 150 hours, one of 1 % never (7e-9 times an hour;
exact binomial probabilities). That is chance; a short burst of failures that really happened is seen, and
``for_seconds`` forgives it.
"""

from __future__ import annotations

from collections.abc import Iterator

from include.plan.rules import Rule
from include.slo.evidence import Z_NEWEST, Z_WINDOW, confidence_text, slower_than, wilson
from include.slo.lasting import lasting
from include.slo.moment import Judge, Moment, View, gap_seconds, sustained
from include.slo.pods import known_samples, restarts, wanted_pods
from include.slo.readings import by_query
from include.slo.texts import error_text, limit_text
from include.slo.verdict import Finding, State, milliseconds, percent
from include.slo.window import WindowStats


def triggers(moment: Moment) -> Iterator[Finding]:
    """What fires, is about to, or cannot be read; a trigger that is quiet says nothing."""
    yield from _down(moment)
    yield from _crash_loop(moment)
    rules = moment.rules.triggers
    for name, rule, judge in (
        ("triggers.error_rate", rules.error_rate, _error_rate),
        ("triggers.p95_seconds", rules.p95_seconds, _latency),
    ):
        if rule.query is not None:
            yield from _by_query(moment, name, rule)
        else:
            yield from _fired(moment, rule, judge)
    for rule in rules.more:
        yield from _by_query(moment, f"triggers.more.{rule.name}", rule)


def _fired(moment: Moment, rule: Rule, judge: Judge) -> Iterator[Finding]:
    finding = sustained(moment, rule, judge, broken="ROLLBACK", meanwhile="DEGRADED")
    # Whether there was enough to judge is what the criterion of the same measure says.
    if finding.state in ("ROLLBACK", "DEGRADED"):
        yield finding


def _by_query(moment: Moment, name: str, rule: Rule) -> Iterator[Finding]:
    finding = by_query(moment, name, rule, broken="ROLLBACK", meanwhile="DEGRADED")
    if finding.state != "HEALTHY":
        yield finding


def _error_rate(moment: Moment, rule: Rule) -> Finding:
    """Broken when the interval of the share of failed requests lies above the limit, in any span."""
    name, view = "triggers.error_rate", moment.view(rule)
    for stats, z in _spans(view):
        enough = _enough(rule, stats) and stats.errors >= moment.watch.min_errors
        if enough and wilson(stats.errors, stats.requests, z).low > rule.limit:
            text = f"{error_text(stats, z)}, above {limit_text(rule.limit)}: rollback"
            return Finding(name, "ROLLBACK", text)
    return Finding(name, _quiet(view.short), error_text(view.short))


def _latency(moment: Moment, rule: Rule) -> Finding:
    """Broken when the interval of the share of requests that took longer than the limit lies above 5 %."""
    name, view = "triggers.p95_seconds", moment.view(rule)
    for stats, z in _spans(view):
        slow = slower_than(stats.latency, rule.limit)
        if slow is None or not _enough(rule, stats):
            continue
        total = stats.latency[-1][1]
        interval = wilson(min(slow, total), total, z)
        if slow >= moment.watch.min_errors and interval.low > 0.05:
            return Finding(
                name,
                "ROLLBACK",
                f"{percent(slow / total)} of {total:.0f} requests in {stats.span_seconds:.0f} s took longer than "
                f"{milliseconds(rule.limit)}, {confidence_text(z)} interval {interval}, P95 {stats.p95}: rollback",
            )
    return Finding(name, _quiet(view.short), "")


def _spans(view: View) -> tuple[tuple[WindowStats, float], ...]:
    """What is judged, each with the bound it takes: the more often it is new, the stricter."""
    return (view.short, Z_WINDOW), (view.long, Z_WINDOW), (view.newest, Z_NEWEST)


def _enough(rule: Rule, stats: WindowStats) -> bool:
    return stats.requests >= (rule.min_requests or 0)


def _quiet(stats: WindowStats) -> State:
    return "HEALTHY" if stats.requests else "UNKNOWN"


def _down(moment: Moment) -> Iterator[Finding]:
    """No ready endpoint, or a public URL that fails, each by the time it has been so without a break.

    A look that could not tell (nobody answered, or the prober itself is at fault) neither proves nor ends it.
    """
    endpoints = ((s.at, None if s.ready_endpoints is None else s.ready_endpoints == 0) for s in moment.slot)
    public = ((p.at, None if p.state == "unusable" else p.state == "failed") for p in moment.probes)
    limit = moment.rules.triggers.down_seconds
    gap = gap_seconds(moment.watch, limit)
    problem = next((p.problem for p in moment.probes if p.state == "failed"), "")
    for what, why, looks in (
        ("no ready endpoint", "", endpoints),
        ("the public URL fails", f" ({problem})" if problem else "", public),
    ):
        run = lasting(looks, gap_seconds=gap)
        if run is None:
            continue
        state: State
        if moment.now - run.last_at > gap:
            state, end = "UNKNOWN", f" when last seen, {moment.now - run.last_at:.0f} s ago"
        elif run.seconds >= limit:
            state, end = "ROLLBACK", f", limit {limit:.0f} s: rollback"
        else:
            state, end = "DEGRADED", f" of at most {limit:.0f} s"
        yield Finding("triggers.down_seconds", state, f"{what}{why} for {run.seconds:.0f} s{end}")


def _crash_loop(moment: Moment) -> Iterator[Finding]:
    """Containers of the slot restart again and again, and users notice: both within the long window.

    Restarts alone may be one bad node, a failing URL alone anything. Not knowing fires nothing.
    """
    limit, since = moment.rules.triggers.crash_restarts, moment.now - moment.watch.lookback_seconds
    failed = any(probe.state == "failed" and probe.at >= since for probe in moment.probes)
    known = known_samples(moment)
    if limit is None or not failed or not known:
        return
    # The newest look before the window tells what was so when it began.
    within = sum(sample.at > since for sample in known)
    count = sum(restarts(known[within::-1]).values())
    wanted = wanted_pods(known[0])
    if count >= limit * wanted:
        text = f"{count} container restarts of {wanted} pod(s) in {moment.watch.lookback_seconds:.0f} s"
        yield Finding("triggers.crash_restarts", "ROLLBACK", f"{text}, and the public URL fails: rollback")
