"""From cumulative counters of pods that come, go and restart to what happened within a span of time.

A pod that was there at the start contributes the growth of its counters; one that was born inside the span
contributes all of them; one whose process restarted contributes what the new process counted. What a process
counted after its last sample and before its end is lost, and never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from include.slo.evidence import Buckets, Interval, Quantile, quantile, wilson
from include.slo.samples import PodSample, Snapshot


@dataclass(frozen=True)
class WindowStats:
    """What one slot did between its first and its last snapshot.

    :param requests: answered requests, health endpoints left out
    :param errors: those answered with 5xx
    :param latency: cumulative histogram of the span; empty when the pods' buckets do not fit together
    :param span_seconds: time between the first and the last snapshot
    :param memory_bytes: the largest of the pods' last known sizes, None when none told
    :param cpu_cores: the largest of the pods' mean processor use, None when none told
    :param sse_connections: open event streams at the end, None when no pod told
    :param restarted: pods whose process restarted inside the span
    :param unusable: samples left out, one sentence each
    """

    requests: int = 0
    errors: int = 0
    latency: Buckets = ()
    span_seconds: float = 0.0
    pods: int = 0
    memory_bytes: float | None = None
    cpu_cores: float | None = None
    sse_connections: int | None = None
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


def window_stats(snapshots: Iterable[Snapshot], *, stale_seconds: float = math.inf) -> WindowStats:
    """Add up what happened between the first and the last of ``snapshots`` (any order, one slot).

    :param stale_seconds: samples so much older than their snapshot are left out
    """
    ordered = sorted(snapshots, key=lambda s: s.taken_at)
    if not ordered:
        return WindowStats()
    total = _Sum()
    last: dict[str, PodSample] = {}
    for index, snapshot in enumerate(ordered):
        for sample in snapshot.pods:
            if why := _unusable(sample, snapshot, stale_seconds):
                total.unusable.append(why)
                continue
            before = last.get(sample.pod_uid)
            if before is not None:
                _grow(total, before, sample)
            elif index > 0 and sample.started_at is not None and sample.started_at >= ordered[0].taken_at:
                _born(total, sample)
            last[sample.pod_uid] = sample
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


def _unusable(sample: PodSample, snapshot: Snapshot, stale_seconds: float) -> str | None:
    numbers = [*sample.requests.values(), *(count for _, count in sample.latency_buckets)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        return f"{sample.pod} reported counters that are no numbers"
    if (age := snapshot.taken_at - sample.taken_at) > stale_seconds:
        return f"the sample of {sample.pod} is {age:.0f} s old"
    return None


def _grow(total: _Sum, before: PodSample, after: PodSample) -> None:
    restarted = _restarted(before, after)
    if restarted and after.pod not in total.restarted:
        total.restarted.append(after.pod)
    _add(total, {} if restarted else before.requests, () if restarted else before.latency_buckets, after)
    seconds = after.taken_at - before.taken_at
    used = _difference(before.cpu_seconds, after.cpu_seconds)
    if not restarted and used is not None and seconds > 0:
        cores, length = total.cpu.get(after.pod_uid, (0.0, 0.0))
        total.cpu[after.pod_uid] = (cores + used, length + seconds)


def _born(total: _Sum, sample: PodSample) -> None:
    _add(total, {}, (), sample)


def _add(total: _Sum, requests: Mapping[str, float], buckets: Buckets, after: PodSample) -> None:
    for status, count in after.requests.items():
        total.requests[status] = total.requests.get(status, 0.0) + count - requests.get(status, 0.0)
    if not after.latency_buckets:
        return
    total.bounds.add(tuple(bound for bound, _ in after.latency_buckets))
    known = dict(buckets)
    for bound, count in after.latency_buckets:
        total.latency[bound] = total.latency.get(bound, 0.0) + count - known.get(bound, 0.0)


def _restarted(before: PodSample, after: PodSample) -> bool:
    if before.started_at is not None and after.started_at is not None and before.started_at != after.started_at:
        return True
    if any(after.requests.get(status, 0.0) < count for status, count in before.requests.items()):
        return True
    later = dict(after.latency_buckets)
    return any(later.get(bound, count) < count for bound, count in before.latency_buckets)


def _difference(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or not math.isfinite(after - before) or after < before:
        return None
    return after - before


def _stats(total: _Sum, last: Mapping[str, PodSample], ordered: Sequence[Snapshot]) -> WindowStats:
    present = {sample.pod_uid for sample in ordered[-1].pods}
    now = [sample for uid, sample in last.items() if uid in present]
    streams = [value for sample in now if (value := _number(sample.sse_connections)) is not None]
    return WindowStats(
        requests=round(sum(total.requests.values())),
        errors=round(sum(count for status, count in total.requests.items() if status.startswith("5"))),
        latency=_histogram(total),
        span_seconds=ordered[-1].taken_at - ordered[0].taken_at,
        pods=len(present),
        memory_bytes=max((m for s in now if (m := _number(s.memory_bytes)) is not None), default=None),
        cpu_cores=max((used / length for used, length in total.cpu.values()), default=None),
        sse_connections=round(sum(streams)) if streams else None,
        restarted=tuple(total.restarted),
        unusable=tuple(total.unusable),
    )


def _histogram(total: _Sum) -> Buckets:
    if len(total.bounds) != 1:
        return ()
    highest, cumulative = 0.0, []
    for bound in sorted(total.latency):
        # A scrape may meet a histogram between two of its increments.
        highest = max(highest, total.latency[bound])
        cumulative.append((bound, highest))
    return tuple(cumulative)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
