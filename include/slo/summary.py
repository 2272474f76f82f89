"""The judgement on a whole watch, computed at its end from counters, not from anybody's memory.

The pods keep the counters; what is needed of the past is the baseline that was recorded at the cutover (and any
checkpoints since, which keep what a pod counted before it was replaced).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from include.plan.rules import SloRules, Watch
from include.slo.criteria import error_rate, latency, limit_text, resources, streams
from include.slo.samples import Snapshot
from include.slo.verdict import Finding, Verdict, percent
from include.slo.window import WindowStats, window_stats


@dataclass(frozen=True)
class Tally:
    """How the polls of a watch went; a poll that was due and not made counts as unknown.

    :param first_at: first and
    :param last_at: last counted poll, seconds since the epoch
    """

    healthy: int = 0
    degraded: int = 0
    unknown: int = 0
    gathering: int = 0
    first_at: float | None = None
    last_at: float | None = None

    def count(self, verdict: Verdict, at: float) -> Tally:
        """The tally with one more poll."""
        name = "gathering" if verdict.gathering else "unknown"
        if verdict.state == "HEALTHY":
            name = "healthy"
        elif verdict.state in ("DEGRADED", "ROLLBACK"):
            name = "degraded"
        first_at = at if self.first_at is None else self.first_at
        return replace(self, **{name: getattr(self, name) + 1, "first_at": first_at, "last_at": at})

    def unknown_ratio(self, poll_seconds: float) -> float:
        """Share of the polls due between the first and the last that brought no knowledge; 1 without any poll."""
        if self.first_at is None or self.last_at is None:
            return 1.0
        made = self.healthy + self.degraded + self.unknown + self.gathering
        # Half of the due polls may drift away before any counts as missed: polls take time themselves.
        due = max(made, int((self.last_at - self.first_at) / (2 * poll_seconds)) + 1)
        return (self.unknown + due - made) / due


@dataclass(frozen=True)
class Summary:
    """``PASSED``: every criterion held over the whole watch. ``HOLD``: a human has to decide."""

    state: Literal["PASSED", "HOLD"]
    sentence: str
    findings: tuple[Finding, ...]
    stats: WindowStats
    unknown_ratio: float


def summarise(
    rules: SloRules, watch: Watch, *, snapshots: Sequence[Snapshot], tally: Tally, beside: Snapshot | None = None
) -> Summary:
    """Judge the whole watch.

    :param snapshots: the baseline taken at the cutover, checkpoints if there are any, and the last one
    :param beside: the newest snapshot of the other slot, whose event streams count too
    """
    stats = window_stats(snapshots)
    unknown = tally.unknown_ratio(watch.poll_seconds)
    findings = (
        _data(watch, snapshots, stats, unknown),
        error_rate(rules.criteria, watch, stats),
        *latency(rules.criteria, watch, stats),
        *resources(rules.criteria, stats),
        *streams(rules.criteria, stats, beside),
        _restarts(stats),
        *_degraded(tally),
    )
    against = [finding for finding in findings if finding.state != "HEALTHY"]
    if against:
        return Summary("HOLD", "; ".join(f.sentence for f in against), findings, stats, unknown)
    sentence = "; ".join(f.sentence for f in findings if f.rule in ("criteria.error_rate", "criteria.p95_seconds"))
    return Summary("PASSED", sentence, findings, stats, unknown)


def _data(watch: Watch, snapshots: Sequence[Snapshot], stats: WindowStats, unknown: float) -> Finding:
    limit = watch.unknown_limit_ratio
    if len({snapshot.taken_at for snapshot in snapshots}) < 2:
        return Finding("data", "UNKNOWN", "no baseline to compare the counters with")
    last = max(snapshots, key=lambda s: s.taken_at)
    if last.errors or not last.pods or stats.unusable:
        why = "; ".join([*last.errors, *stats.unusable]) or "no pod could be read"
        return Finding("data", "UNKNOWN", f"the final counters are incomplete: {why}")
    if unknown > limit:
        return Finding(
            "data", "UNKNOWN", f"{percent(unknown)} of the polls were unknown, limit {limit_text(limit)}"
        )
    return Finding("data", "HEALTHY", f"{percent(unknown)} of the polls were unknown")


def _restarts(stats: WindowStats) -> Finding:
    if stats.restarted:
        return Finding("restarts", "DEGRADED", f"restarted during the watch: {', '.join(stats.restarted)}")
    return Finding("restarts", "HEALTHY", "no pod restarted")


def _degraded(tally: Tally) -> list[Finding]:
    """Passing moments are said, and do not hold the release: the criteria are over the window."""
    if not tally.degraded:
        return []
    return [Finding("polls", "HEALTHY", f"{tally.degraded} poll(s) missed a criterion for the moment")]
