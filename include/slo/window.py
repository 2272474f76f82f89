"""From cumulative counters of pods that come, go and restart to what happened within a span of time.

A pod that was there at the start contributes the growth of its counters; one that was born inside the span
contributes all of them; one whose process restarted contributes what the new process counted. What a process
counted after its last sample and before its end is lost, and never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from include.slo.counters import Growth, carried, growth, not_numbers, number, whole
from include.slo.evidence import Buckets, Interval, Quantile, quantile, wilson
from include.slo.samples import PodSample, Snapshot


@dataclass(frozen=True)
class WindowStats:
    """What one slot did between its first and its last snapshot.

    :param requests: answered requests, health endpoints left out
    :param errors: those answered with 5xx
    :param latency: cumulative histogram of the span; empty when the pods' buckets do not fit together
    :param span_seconds: time between the first and the last snapshot
    :param memory_bytes: the last known size of each pod that is there and told one, by name
    :param cpu_cores: the mean processor use of each pod that told it, by name
    :param sse_connections: open event streams at the end, None when not every pod told
    :param db_connections: open database connections at the end, None when not every pod told
    :param restarted: pods whose process restarted inside the span
    :param unusable: samples left out, one sentence each
    """

    requests: int = 0
    errors: int = 0
    latency: Buckets = ()
    span_seconds: float = 0.0
    pods: int = 0
    memory_bytes: Mapping[str, float] = field(default_factory=dict)
    cpu_cores: Mapping[str, float] = field(default_factory=dict)
    sse_connections: int | None = None
    db_connections: int | None = None
    restarted: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def error_rate(self) -> float | None:
        """Share of failed requests; None without requests."""
        return self.errors / self.requests if self.requests else None

    @property
    def error_interval(self) -> Interval:
        """The 95 % interval of the error rate."""
        return wilson(self.errors, self.requests)

    @property
    def p95(self) -> Quantile | None:
        """Time within which 95 % of the requests were answered; None without requests."""
        return quantile(self.latency, 0.95)

    @property
    def p95_seconds(self) -> float | None:
        """:attr:`p95` as a number."""
        p95 = self.p95
        return p95.seconds if p95 else None


@dataclass
class _Sum:
    """What is added up while walking through the snapshots."""

    requests: dict[str, float] = field(default_factory=dict)
    latency: dict[float, float] = field(default_factory=dict)
    bounds: set[tuple[float, ...]] = field(default_factory=set)
    cpu: dict[str, tuple[float, float]] = field(default_factory=dict)
    restarted: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def add(self, grown: Growth) -> None:
        """Add what one pod counted."""
        for status, count in grown.requests.items():
            self.requests[status] = self.requests.get(status, 0.0) + count
        if grown.latency:
            self.bounds.add(tuple(bound for bound, _ in grown.latency))
        for bound, count in grown.latency:
            self.latency[bound] = self.latency.get(bound, 0.0) + count


def window_stats(snapshots: Iterable[Snapshot], *, stale_seconds: float = math.inf) -> WindowStats:
    """Add up what happened between the first and the last of ``snapshots`` (any order, one slot).

    :param stale_seconds: samples so much older (or newer) than their snapshot are left out
    """
    ordered = sorted(snapshots, key=lambda s: s.taken_at)
    if not ordered:
        return WindowStats()
    total = _Sum()
    last: dict[str, PodSample] = {}
    for index, snapshot in enumerate(ordered):
        for sample in snapshot.pods:
            if why := unusable(sample, snapshot.taken_at, stale_seconds):
                total.unusable.append(why)
                continue
            before = last.get(sample.pod_uid)
            if before is not None:
                _grow(total, before, sample)
            elif index > 0 and sample.started_at is not None and sample.started_at >= ordered[0].taken_at:
                total.add(whole(sample))
            last[sample.pod_uid] = carried(before, sample) if before else sample
    return _stats(total, last, ordered)


def within(snapshots: Sequence[Snapshot], *, now: float, seconds: float) -> list[Snapshot]:
    """The snapshots of the last ``seconds``, and the one just before: growth is counted from there.

    That one is left out when it is so old that the span would be twice as long as asked for.
    """
    start = now - seconds
    inside = sorted((s for s in snapshots if start < s.taken_at <= now), key=lambda s: s.taken_at)
    earlier = [s for s in snapshots if start - seconds <= s.taken_at <= start]
    return ([max(earlier, key=lambda s: s.taken_at)] if earlier else []) + inside


def thinned(snapshots: Sequence[Snapshot], *, apart_seconds: float) -> list[Snapshot]:
    """First, last, and between them only snapshots at least so far apart: a long span in few steps."""
    ordered = sorted(snapshots, key=lambda s: s.taken_at)
    kept = ordered[:1]
    for snapshot in ordered[1:-1]:
        if snapshot.taken_at - kept[-1].taken_at >= apart_seconds:
            kept.append(snapshot)
    return kept + ordered[1:][-1:]


def unusable(sample: PodSample, now: float, stale_seconds: float) -> str | None:
    """Why a sample says nothing at a moment; None when it can be used."""
    if not_numbers(sample):
        return f"{sample.pod} reported counters that are no numbers"
    age = now - sample.taken_at
    if age > stale_seconds:
        return f"the sample of {sample.pod} is {age:.0f} s old"
    if -age > stale_seconds:
        return f"the sample of {sample.pod} is {-age:.0f} s ahead of this clock"
    return None


def _grow(total: _Sum, before: PodSample, after: PodSample) -> None:
    grown = growth(before, after)
    total.add(grown)
    if grown.restarted and after.pod not in total.restarted:
        total.restarted.append(after.pod)
    seconds = after.taken_at - before.taken_at
    if grown.cpu_seconds is not None and seconds > 0:
        used, length = total.cpu.get(after.pod, (0.0, 0.0))
        total.cpu[after.pod] = (used + grown.cpu_seconds, length + seconds)


def _stats(total: _Sum, last: Mapping[str, PodSample], ordered: Sequence[Snapshot]) -> WindowStats:
    present = {sample.pod_uid for sample in ordered[-1].pods}
    now = [sample for uid, sample in last.items() if uid in present]
    return WindowStats(
        requests=round(sum(total.requests.values())),
        errors=round(sum(count for status, count in total.requests.items() if status.startswith("5"))),
        latency=monotone(total.latency) if len(total.bounds) == 1 else (),
        span_seconds=ordered[-1].taken_at - ordered[0].taken_at,
        pods=len(present),
        memory_bytes={s.pod: value for s in now if (value := number(s.memory_bytes)) is not None},
        cpu_cores={pod: used / length for pod, (used, length) in total.cpu.items()},
        sse_connections=_sum(sample.sse_connections for sample in now),
        db_connections=_sum(sample.db_connections for sample in now),
        restarted=tuple(total.restarted),
        unusable=tuple(total.unusable),
    )


def monotone(counts: Mapping[float, float]) -> Buckets:
    """A histogram in the order of its bounds: a scrape may meet one between two of its increments."""
    highest, cumulative = 0.0, []
    for bound in sorted(counts):
        highest = max(highest, counts[bound])
        cumulative.append((bound, highest))
    return tuple(cumulative)


def _sum(values: Iterable[float | None]) -> int | None:
    numbers = [number(value) for value in values]
    known = [value for value in numbers if value is not None]
    return round(sum(known)) if known and len(known) == len(numbers) else None
