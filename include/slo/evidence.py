"""How much a count proves: confidence intervals for shares, quantiles from histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Buckets = tuple[tuple[float, float], ...]

Z_WINDOW: Final = 1.959963984540054
"""For a window of many polls: two-sided 95 %."""

Z_NEWEST: Final = 4.0
"""For the newest interval, which is new at every poll: two-sided 99.99 %.

One in 30 000 lies above it if shares were normally distributed. Counts of few errors are skewed: at a true rate
equal to a limit of 5 % it is one in 10 000 of 1000 requests, one in 2200 of 100, and at worst (62 requests, 10
errors at least) one in 1000. So a look a second at a release that is exactly at the limit calls it 0.35, 1.7, at
worst 3.5 times an hour; at a true rate of 1 % at worst once in 400 000 hours (exact binomial probabilities).
"""


@dataclass(frozen=True)
class Interval:
    """The shares (0 to 1) that are compatible with what was counted."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.low:.1f}–{100 * self.high:.1f} %"  # noqa: RUF001 - an en dash between two figures


@dataclass(frozen=True)
class Quantile:
    """A quantile in seconds; ``at_least`` when it lies above the highest finite bucket."""

    seconds: float
    at_least: bool = False

    def __str__(self) -> str:
        text = f"{1000 * self.seconds:.0f} ms"
        return f"more than {text}" if self.at_least else text


def wilson(hits: float, total: float, z: float = Z_WINDOW) -> Interval:
    """The Wilson interval of a share; nothing counted proves nothing: 0 to 1.

    :param z: how many standard deviations of chance the interval spans to either side: 1.96 is 95 %, 4 is 99.99 %;
        the larger, the wider the interval and the rarer a share outside it by chance
    :raises ValueError: counts that cannot be
    """
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} of {total} is no share")
    if total == 0:
        return Interval(0.0, 1.0)
    share, z2 = hits / total, z * z
    centre = share + z2 / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def confidence_text(z: float) -> str:
    """What an interval of ``z`` standard deviations to either side holds by chance: ``95 %``, ``99.99 %``."""
    return f"{100 * math.erf(z / math.sqrt(2)):.4g} %"


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> Quantile | None:
    """The value below which ``share`` of a histogram's observations lie, interpolated inside its bucket.

    :param buckets: ``(upper bound, cumulative count)``, ascending, the last one infinite
    :returns: None for an empty histogram, or one without a finite bucket
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            if math.isinf(bound):
                break
            return Quantile(lower + (bound - lower) * (rank - below) / (count - below))
        if not math.isinf(bound):
            lower, below = bound, count
    return Quantile(lower, at_least=True) if lower > 0 else None


def slower_than(buckets: Sequence[tuple[float, float]], seconds: float) -> float | None:
    """How many observations took longer than ``seconds``, interpolated inside its bucket.

    What lies above the highest finite bucket counts as slower only where ``seconds`` is not above that bound too.
    None for an empty histogram.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    total = buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if math.isinf(bound):
            break
        if seconds <= bound:
            within = below + (count - below) * (seconds - lower) / (bound - lower) if bound > lower else count
            return total - within
        lower, below = bound, count
    return total - below if seconds <= lower else 0.0
