"""Figures as they stand in sentences."""

from __future__ import annotations

from include.slo.evidence import Z_WINDOW, confidence_text, wilson
from include.slo.verdict import percent
from include.slo.window import WindowStats


def error_text(stats: WindowStats, z: float = Z_WINDOW) -> str:
    """The error rate with everything that says how much it proves, by an interval of ``z``."""
    rate = stats.error_rate or 0.0
    return (
        f"error rate {percent(rate)} of {stats.requests} requests in {stats.span_seconds:.0f} s, "
        f"{confidence_text(z)} interval {wilson(stats.errors, stats.requests, z)}"
    )


def limit_text(share: float) -> str:
    """``0.05`` as ``5 %``."""
    return f"{100 * share:g} %"


def megabytes(size: float) -> str:
    """``1e9`` as ``1000 MB``."""
    return f"{size / 1e6:.4g} MB"
