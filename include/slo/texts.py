"""Figures as they stand in sentences."""

from __future__ import annotations

from include.slo.verdict import percent
from include.slo.window import WindowStats


def error_text(stats: WindowStats) -> str:
    """The error rate with everything that says how much it proves."""
    rate = stats.error_rate or 0.0
    return (
        f"error rate {percent(rate)} of {stats.requests} requests in {stats.span_seconds:.0f} s, "
        f"95 % interval {stats.error_interval}"
    )


def limit_text(share: float) -> str:
    """``0.05`` as ``5 %``."""
    return f"{100 * share:g} %"


def megabytes(size: float) -> str:
    """``1e9`` as ``1000 MB``."""
    return f"{size / 1e6:.4g} MB"
