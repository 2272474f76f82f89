"""The detection floor: how late a watcher of cumulative counters may see a fault, by its settings alone."""

from __future__ import annotations

import math
from typing import Final

from include.slo.evidence import Z_NEWEST, wilson

_STEP_SECONDS: Final = 0.05
_MIN_ERRORS: Final = 10


def evidence_seconds(*, rate: float, error_ratio: float, limit: float, interval_seconds: float) -> float:
    """How long a fault lasts until the errors between two looks are more than the limit, beyond doubt.

    That is, until they are ten at least and the 99.99 % (Wilson, z = 4) interval of their share lies above the
    limit: the bound for a span that is judged anew at every look. The interval is full; the fault is at its end.

    :param rate: requests a second
    :param interval_seconds: between the two newest samples: a scrape, or a poll where that is longer
    :raises ValueError: the fault never shows in one interval
    """
    requests = rate * interval_seconds
    for step in range(1, math.floor(interval_seconds / _STEP_SECONDS) + 1):
        seconds = step * _STEP_SECONDS
        errors = min(error_ratio * rate * seconds, requests)
        if errors >= _MIN_ERRORS and wilson(errors, requests, Z_NEWEST).low > limit:
            return round(seconds, 2)
    raise ValueError(
        f"{error_ratio:.0%} errors at {rate:g} requests a second never show above {limit:.0%} "
        f"in an interval of {interval_seconds:g} s"
    )


def floor_seconds(*, scrape_seconds: float, poll_seconds: float, evidence: float) -> float:
    """From a fault's first answer to the last moment at which it can be seen first.

    The evidence may be complete just after a scrape, and the next scrape just after a poll.
    """
    return evidence + scrape_seconds + poll_seconds
