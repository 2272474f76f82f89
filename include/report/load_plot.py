"""A load test as a picture (SVG): requests and failures per second, P95 against what the plan allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.load.figures import Figures
from include.plan.staging import LoadThresholds
from include.report.drawing import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def svg(figures: Figures, thresholds: LoadThresholds, *, title: str) -> str | None:
    """Draw a test; None when it has no second to show."""
    if not figures.points:
        return None
    words = description(figures, thresholds)
    return drawn(lambda: _draw(figures, thresholds), title=title, description=words)


def description(figures: Figures, thresholds: LoadThresholds) -> str:
    """The picture in words, for those who cannot see it."""
    most = max((point.users for point in figures.points), default=0)
    p95 = "none" if figures.p95_seconds is None else f"{1000 * figures.p95_seconds:.0f} ms"
    return (
        f"{figures.requests} requests of up to {most} users in {len(figures.points)} s, "
        f"{figures.failures} failed. P95 {p95}, allowed are {1000 * thresholds.p95_seconds:g} ms."
    )


def _draw(figures: Figures, thresholds: LoadThresholds) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    began = figures.points[0].at
    seconds = [point.at - began for point in figures.points]
    answered = [point.requests_per_second for point in figures.points]
    upper.plot(seconds, answered, color="#0b3d91", label="requests/s")
    failed = [point.failures_per_second for point in figures.points]
    upper.plot(seconds, failed, color="#8e0000", linestyle="--", label="failed/s")
    upper.plot(seconds, [point.users for point in figures.points], color="#555555", linestyle=":", label="users")
    _line(upper, thresholds.requests_per_second, "needed")
    p95 = [float("nan") if point.p95_seconds is None else 1000 * point.p95_seconds for point in figures.points]
    lower.plot(seconds, p95, color="#0b3d91", label="P95 in ms")
    _line(lower, 1000 * thresholds.p95_seconds, "allowed")
    lower.set_xlabel("seconds")
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", frameon=False, ncols=4)
    return figure


def _line(axes: Axes, limit: float, what: str) -> None:
    axes.axhline(limit, color="#b26a00", linestyle="-.", linewidth=1, label=f"{what} {limit:g}")
