"""The newest interval: what each pod counted between its two newest samples.

It is the shortest span that counters can tell of, so a fault fills it first: a watch that looks every second sees
what a single second brought. It is looked at thousands of times in an hour and holds few requests, which is why
only a much stricter bound (:data:`include.slo.evidence.Z_NEWEST`) may be drawn from it, and never health.

Pods are scraped at different moments, so each has an interval of its own, between two *distinct* samples: a look
that shows a sample again (a scrape that has not been made yet) adds nothing. A pod that the newest look does not
show adds nothing either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from include.slo.counters import Growth, carried, growth, whole
from include.slo.evidence import Buckets
from include.slo.samples import PodSample, Snapshot
from include.slo.window import WindowStats, monotone, unusable


@dataclass(frozen=True)
class _Newest:
    """A pod's newest sample (with what older ones knew), and what happened up to it; None when nobody can tell."""

    sample: PodSample
    grown: Growth | None
    seconds: float


def newest_interval(
    snapshots: Iterable[Snapshot], *, now: float, stale_seconds: float, longest_seconds: float
) -> WindowStats:
    """Add up the newest interval of every pod that the newest of ``snapshots`` shows (any order, one slot).

    :param now: seconds since the epoch
    :param stale_seconds: samples so much older (or newer) than their snapshot, or older than now, are left out
    :param longest_seconds: a longer interval lies across looks or scrapes that are missing: it is left out
    :returns: ``span_seconds`` is the longest interval, ``pods`` how many of them were added up
    """
    ordered = sorted(snapshots, key=lambda s: s.taken_at)
    newest = _walked(ordered, stale_seconds)
    shown = {
        sample.pod_uid
        for sample in (ordered[-1].pods if ordered else ())
        if not unusable(sample, ordered[-1].taken_at, stale_seconds)
    }
    return _added(
        one
        for uid, one in newest.items()
        if uid in shown and now - one.sample.taken_at <= stale_seconds and 0 < one.seconds <= longest_seconds
    )


def _walked(ordered: Sequence[Snapshot], stale_seconds: float) -> Mapping[str, _Newest]:
    found: dict[str, _Newest] = {}
    for index, snapshot in enumerate(ordered):
        for sample in snapshot.pods:
            if unusable(sample, snapshot.taken_at, stale_seconds):
                continue
            last = found.get(sample.pod_uid)
            if last is None:
                # Counters of a pod that was there already may have been years in growing.
                born = index > 0 and sample.started_at is not None and sample.started_at >= ordered[0].taken_at
                seconds = sample.taken_at - (sample.started_at or 0.0) if born else 0.0
                found[sample.pod_uid] = _Newest(sample, whole(sample) if born else None, seconds)
            elif sample.taken_at > last.sample.taken_at:
                found[sample.pod_uid] = _Newest(
                    carried(last.sample, sample),
                    growth(last.sample, sample),
                    sample.taken_at - last.sample.taken_at,
                )
    return found


def _added(intervals: Iterable[_Newest]) -> WindowStats:
    requests = errors = longest = 0.0
    pods = 0
    histograms: list[Buckets] = []
    for one in intervals:
        if one.grown is None:
            continue
        pods, longest = pods + 1, max(longest, one.seconds)
        requests += sum(one.grown.requests.values())
        errors += sum(count for status, count in one.grown.requests.items() if status.startswith("5"))
        histograms += [one.grown.latency] if one.grown.latency else []
    return WindowStats(
        requests=round(requests),
        errors=round(errors),
        latency=_merged(histograms),
        span_seconds=longest,
        pods=pods,
    )


def _merged(histograms: Sequence[Buckets]) -> Buckets:
    """All of them together; empty when their bounds do not fit together."""
    if len({tuple(bound for bound, _ in buckets) for buckets in histograms}) != 1:
        return ()
    total: dict[float, float] = {}
    for buckets in histograms:
        for bound, count in buckets:
            total[bound] = total.get(bound, 0.0) + count
    return monotone(total)
