"""Memory and processor use of single pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from include.plan.rules import Rule
from include.slo.moment import Moment
from include.slo.texts import limit_text, megabytes
from include.slo.verdict import Finding, percent

WARM_UP_SHARE: Final = 0.2
"""Share of the watch in which a pod's memory may grow without being judged: caches fill, pools open."""
SHORTEST_TREND_SHARE: Final = 0.4
"""Share of the watch a pod's points have to span after the warm-up before their trend is judged."""
FEWEST_POINTS: Final = 8

Point = tuple[float, float]


def memory(moment: Moment, rule: Rule) -> Finding:
    """The resident memory of every pod is below the limit; a pod that does not tell is not known."""
    name, stats = "criteria.memory_bytes", moment.view(rule).short
    over = {pod: size for pod, size in stats.memory_bytes.items() if size >= rule.limit}
    if over:
        pod = max(over, key=lambda pod: over[pod])
        return Finding(name, "DEGRADED", f"{pod} uses {megabytes(over[pod])} of memory, not below {_mb(rule)}")
    if len(stats.memory_bytes) < stats.pods or not stats.pods:
        return Finding(name, "UNKNOWN", f"{stats.pods - len(stats.memory_bytes)} pods did not report their memory")
    most = max(stats.memory_bytes.values())
    return Finding(name, "HEALTHY", f"at most {megabytes(most)} of memory a pod, below {_mb(rule)}")


def cpu(moment: Moment, rule: Rule) -> Finding:
    """The mean processor use of every pod over the long window, as a share of what it may use."""
    view = moment.view(rule)
    allowed = next((s.cpu_cores for s in moment.slot if not s.problem), {})
    return cpu_finding(rule, cpu_shares(view.long.cpu_cores, allowed))


def cpu_shares(cores: Mapping[str, float], allowed: Mapping[str, float]) -> dict[str, float]:
    """Processor use by pod as a share of its limit (else its request, else of one core)."""
    return {pod: used / (allowed.get(pod) or 1.0) for pod, used in cores.items()}


def cpu_finding(rule: Rule, shares: Mapping[str, float]) -> Finding:
    """The largest of the shares is below the limit; without any it is not known."""
    name = "criteria.cpu_ratio"
    if not shares:
        return Finding(name, "UNKNOWN", "no pod reported its processor use")
    pod = max(shares, key=lambda pod: shares[pod])
    text = f"{pod} uses {percent(shares[pod])} of its processor share"
    if shares[pod] < rule.limit:
        return Finding(name, "HEALTHY", f"{text}, below {limit_text(rule.limit)}")
    return Finding(name, "DEGRADED", f"{text}, not below {limit_text(rule.limit)}")


def trend(points: Sequence[Point]) -> float:
    """Theil-Sen: the median of the slopes of all pairs of points, in units a second; a spike does not move it.

    :param points: (seconds, value), at least two of different times
    :raises statistics.StatisticsError: there is no such pair
    """
    ordered = sorted(points)
    return median(
        (after - before) / (late - early)
        for index, (early, before) in enumerate(ordered)
        for late, after in ordered[index + 1 :]
        if late > early
    )


def grown_bytes(points: Sequence[Point], *, since: float, seconds: float) -> float | None:
    """By how much a pod's memory grows over a watch, when it goes on as its trend says.

    The points of the warm-up (:data:`WARM_UP_SHARE` of the watch, from ``since``) do not count. None when the rest
    is fewer than :data:`FEWEST_POINTS` or spans less than :data:`SHORTEST_TREND_SHARE` of the watch: too short to
    tell a leak from a cache.

    :param points: (seconds since the epoch, bytes)
    :param since: when the pod's part in the watch began, seconds since the epoch
    :param seconds: length of the watch
    """
    warm = [point for point in points if point[0] >= since + WARM_UP_SHARE * seconds]
    if len(warm) < FEWEST_POINTS:
        return None
    times = [at for at, _ in warm]
    if max(times) - min(times) < SHORTEST_TREND_SHARE * seconds:
        return None
    return trend(warm) * seconds


def growth_finding(rule: Rule, memory_limit: Rule, grown: Mapping[str, float]) -> Finding:
    """No pod's trend adds more than the given share of the memory limit over the watch.

    :param grown: bytes by pod, of those whose trend can be judged
    """
    name = "criteria.memory_growth_ratio"
    if not grown:
        return Finding(name, "UNKNOWN", "no pod's memory could be followed for long enough to see a trend")
    pod = max(grown, key=lambda pod: grown[pod])
    share = grown[pod] / memory_limit.limit
    text = f"the memory of {pod} grows by {megabytes(max(0.0, grown[pod]))} over the watch"
    if share <= rule.limit:
        return Finding(name, "HEALTHY", f"{text}, at most {limit_text(rule.limit)} of {_mb(memory_limit)}")
    return Finding(name, "DEGRADED", f"{text}, more than {limit_text(rule.limit)} of {_mb(memory_limit)}")


def _mb(rule: Rule) -> str:
    return megabytes(rule.limit)
