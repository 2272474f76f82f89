"""The detection floor: how late a watcher of cumulative counters may see a fault, by its settings alone."""

from __future__ import annotations

import math
from typing import Final

from include.slo.evidence import wilson

_STEP_SECONDS: Final = 0.05


def evidence_seconds(*, rate: float, error_ratio: float, limit: float, window_seconds: float) -> float:
    """How long a fault lasts until the errors of a full window are more than the limit, beyond chance.

    That is, until the 95 % (Wilson) interval of the window's error share lies above the limit.

    :param rate: requests a second
    :raises ValueError: the fault never shows
    """
    requests = rate * window_seconds
    for step in range(1, math.ceil(window_seconds / _STEP_SECONDS) + 1):
        seconds = step * _STEP_SECONDS
        if wilson(error_ratio * rate * seconds, requests).low > limit:
            return round(seconds, 2)
    raise ValueError(f"{error_ratio:.0%} errors never show above {limit:.0%} at {rate:g} requests a second")


def floor_seconds(*, scrape_seconds: float, poll_seconds: float, evidence: float) -> float:
    """From a fault's first answer to the last moment at which it can be seen first.

    The evidence may be complete just after a scrape, and the next scrape just after a poll.
    """
    return evidence + scrape_seconds + poll_seconds
