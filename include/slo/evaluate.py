"""The verdict on a slot at one moment of the watch.

Two windows are looked at: the short one finds a fault within seconds, the long one gathers evidence where traffic
is thin. A trigger fires when the confidence interval of what was counted lies above it, however young the window
is; health needs a number of requests, data from every pod, and data of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.plan.rules import SloRules, Triggers, Watch
from include.slo.criteria import error_rate, error_text, latency, limit_text, resources, streams
from include.slo.evidence import slower_than, wilson
from include.slo.samples import Snapshot
from include.slo.verdict import Finding, Verdict, heaviest, milliseconds, percent
from include.slo.window import WindowStats, thinned, window_stats, within


def retention_seconds(rules: SloRules, watch: Watch) -> float:
    """How long a watcher has to keep snapshots for :func:`evaluate`."""
    return max(2 * watch.lookback_seconds, rules.triggers.down_seconds + 2 * watch.window_seconds)


def evaluate(
    rules: SloRules,
    watch: Watch,
    snapshots: Sequence[Snapshot],
    now: float,
    *,
    cutover_at: float | None = None,
    beside: Snapshot | None = None,
) -> Verdict:
    """Judge the slot the snapshots were taken of.

    :param snapshots: since the cutover, at most :func:`retention_seconds` old, any order
    :param now: seconds since the epoch
    :param cutover_at: when the traffic came, seconds since the epoch; event streams are forgiven for a while after
    :param beside: the newest snapshot of the other slot, whose event streams count too
    :raises ValueError: snapshots of both slots
    """
    if len({snapshot.slot for snapshot in snapshots}) > 1:
        raise ValueError("snapshots of both slots: a release is judged by the active slot's series alone")
    known = sorted((s for s in snapshots if s.taken_at <= now), key=lambda s: s.taken_at)
    recent = within(known, now=now, seconds=watch.window_seconds)
    short = window_stats(recent, stale_seconds=watch.stale_seconds)
    long = window_stats(
        thinned(within(known, now=now, seconds=watch.lookback_seconds), apart_seconds=watch.window_seconds),
        stale_seconds=watch.stale_seconds,
    )
    findings = [*_down(rules.triggers, known)]
    for stats in (short, long):
        findings += _triggers(rules.triggers, watch, stats)
    missing = _missing(watch, known, now)
    if missing:
        findings.append(missing)
    else:
        enough = short if short.requests >= watch.min_requests else long
        forgiven = cutover_at is not None and now - cutover_at < watch.sse_grace_seconds
        findings.append(error_rate(rules.criteria, watch, enough))
        findings += latency(rules.criteria, watch, enough)
        findings += resources(rules.criteria, short)
        findings += [] if forgiven else streams(rules.criteria, short, beside)
    worst = heaviest(findings)
    young = not missing and now - known[0].taken_at < watch.window_seconds
    only_few = all(f.state != "UNKNOWN" or f.rule == "criteria.error_rate" for f in findings)
    gathering = worst.state == "UNKNOWN" and young and only_few
    return Verdict(worst.state, worst.sentence, tuple(findings), short, gathering)


def _triggers(triggers: Triggers, watch: Watch, stats: WindowStats) -> Iterator[Finding]:
    if stats.errors >= watch.min_errors and stats.error_interval.low > triggers.error_rate.limit:
        yield Finding(
            "triggers.error_rate",
            "ROLLBACK",
            f"{error_text(stats)}, above {limit_text(triggers.error_rate.limit)}: rollback",
        )
    slow = slower_than(stats.latency, triggers.p95_seconds.limit)
    if slow is None:
        return
    total = stats.latency[-1][1]
    interval = wilson(min(slow, total), total)
    if slow >= watch.min_errors and interval.low > 0.05:
        yield Finding(
            "triggers.p95_seconds",
            "ROLLBACK",
            f"{percent(slow / total)} of {total:.0f} requests in {stats.span_seconds:.0f} s took longer than "
            f"{milliseconds(triggers.p95_seconds.limit)}, 95 % interval {interval}, P95 {stats.p95}: rollback",
        )


def _down(triggers: Triggers, known: Sequence[Snapshot]) -> Iterator[Finding]:
    """No ready endpoint, or a public URL that fails. A snapshot that does not know neither proves nor ends it."""
    for what, seen in (
        (
            "no ready endpoint",
            [(s.taken_at, s.ready_endpoints == 0) for s in known if s.ready_endpoints is not None],
        ),
        (
            "the public URL does not answer",
            [(s.taken_at, not s.public_ok) for s in known if s.public_ok is not None],
        ),
    ):
        if not seen or not seen[-1][1]:
            continue
        since = seen[-1][0]
        for taken_at, down in reversed(seen):
            if not down:
                break
            since = taken_at
        lasted, limit = seen[-1][0] - since, triggers.down_seconds
        if lasted >= limit:
            yield Finding(
                "triggers.down_seconds", "ROLLBACK", f"{what} for {lasted:.0f} s, limit {limit:.0f} s: rollback"
            )
        else:
            yield Finding(
                "triggers.down_seconds", "DEGRADED", f"{what} for {lasted:.0f} s of at most {limit:.0f} s"
            )


def _missing(watch: Watch, known: Sequence[Snapshot], now: float) -> Finding | None:
    """Why the data say nothing about now; None when every pod was read within the last ``stale_seconds``."""

    def finding(sentence: str) -> Finding:
        return Finding("data", "UNKNOWN", sentence)

    if not known:
        return finding("no data yet: no poll has been made")
    fresh = (s for s in reversed(known) if now - s.taken_at <= watch.stale_seconds)
    if any(s.pods and not s.errors and not _unusable(s, watch) for s in fresh):
        return None
    last = known[-1]
    if now - last.taken_at > watch.stale_seconds:
        return finding(f"no data: the newest sample is {now - last.taken_at:.0f} s old")
    if last.errors:
        return finding(f"data incomplete: {'; '.join(last.errors)}")
    if not last.pods:
        return finding(f"no data: no pod of {last.slot} could be read")
    return finding(
        f"no usable data: {'; '.join(window_stats([last], stale_seconds=watch.stale_seconds).unusable)}"
    )


def _unusable(snapshot: Snapshot, watch: Watch) -> tuple[str, ...]:
    return window_stats([snapshot], stale_seconds=watch.stale_seconds).unusable
