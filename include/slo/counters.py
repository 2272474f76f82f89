"""What a pod counted between two of its samples: counters that only grow, until their process starts again.

A process that restarted contributes what the new one counted; what the old one counted after its last sample is
lost and never guessed. A series that is missing from a sample is not known there: it neither grows nor restarts
anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from include.slo.evidence import Buckets
from include.slo.samples import PodSample

# A start time is computed from the machine's boot time, which is told in whole seconds and moves by one when the
# clock is corrected. A process that began again so soon has counted next to nothing.
_START_JITTER_SECONDS: Final = 1.1


@dataclass(frozen=True)
class Growth:
    """What happened on one pod between two samples.

    :param requests: by status
    :param latency: cumulative counts by upper bound
    :param cpu_seconds: processor time used, None when it is not known
    :param restarted: the process began again in between
    """

    requests: Mapping[str, float] = field(default_factory=dict)
    latency: Buckets = ()
    cpu_seconds: float | None = None
    restarted: bool = False


def growth(before: PodSample, after: PodSample) -> Growth:
    """What the pod counted from ``before`` to ``after``; never negative, and nothing twice."""
    restarted = restarted_between(before, after)
    known = {} if restarted else before.requests
    used = None if restarted else _difference(before.cpu_seconds, after.cpu_seconds)
    return Growth(
        requests={status: _grown(known.get(status, 0.0), count) for status, count in after.requests.items()},
        latency=_histogram(() if restarted else before.latency_buckets, after.latency_buckets),
        cpu_seconds=used,
        restarted=restarted,
    )


def whole(sample: PodSample) -> Growth:
    """All that a pod counted since its process began."""
    return Growth(dict(sample.requests), sample.latency_buckets)


def carried(before: PodSample, after: PodSample) -> PodSample:
    """``after``, with what ``before`` knew of series that are missing now."""
    if restarted_between(before, after) or _lacks_nothing(after, before):
        return after
    return replace(
        after,
        started_at=before.started_at if after.started_at is None else after.started_at,
        requests={**before.requests, **after.requests},
        latency_buckets=after.latency_buckets or before.latency_buckets,
        cpu_seconds=before.cpu_seconds if after.cpu_seconds is None else after.cpu_seconds,
    )


def _lacks_nothing(after: PodSample, before: PodSample) -> bool:
    """Whether a sample knows every series that an earlier one knew, as it nearly always does."""
    return (
        before.requests.keys() <= after.requests.keys()
        and (bool(after.latency_buckets) or not before.latency_buckets)
        and (after.started_at is not None or before.started_at is None)
        and (after.cpu_seconds is not None or before.cpu_seconds is None)
    )


def restarted_between(before: PodSample, after: PodSample) -> bool:
    """Whether the pod's process began again: by its start time, else by a smaller counter."""
    if before.started_at is not None and after.started_at is not None:
        moved = abs(after.started_at - before.started_at)
        if moved == 0 or moved > _START_JITTER_SECONDS:
            return moved > 0
    if any(after.requests.get(status, count) < count for status, count in before.requests.items()):
        return True
    later = dict(after.latency_buckets)
    return any(later.get(bound, count) < count for bound, count in before.latency_buckets)


def not_numbers(sample: PodSample) -> bool:
    """Whether a counter of the sample is NaN, infinite or negative: then none of them is believed."""
    return not sample.countable


def number(value: float | None) -> float | None:
    """The value where it is one."""
    return value if value is not None and math.isfinite(value) else None


def _grown(before: float, after: float) -> float:
    # A single counter that fell was reset by the application: it counts from zero again.
    return after - before if after >= before else after


def _histogram(before: Buckets, after: Buckets) -> Buckets:
    known = dict(before)
    if any(count < known.get(bound, 0.0) for bound, count in after):
        return after
    return tuple((bound, count - known.get(bound, 0.0)) for bound, count in after)


def _difference(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or not math.isfinite(after - before) or after < before:
        return None
    return after - before
