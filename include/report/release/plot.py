"""The day as a picture: when each step of T-0 was planned, and when it happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from include.report.drawing import drawn, ticks
from include.report.release.model import ReleaseReport, Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST: Final = 2
_A_DAY: Final = timedelta(days=1)
_PLANNED, _ACTUAL, _LATE = "#5f6368", "#0b3d91", "#b26a00"


def drawable(found: ReleaseReport) -> bool:
    """Whether the ledger holds at least two steps with both times on that day."""
    return sum(_both(found, step) is not None for step in found.steps) >= _FEWEST


def day(found: ReleaseReport, *, name: str) -> str:
    """Draw the steps of T-0.

    :param name: tells pictures of one page apart
    """
    shown = [(step, *both) for step in found.steps if (both := _both(found, step))]
    zone = ZoneInfo(found.timezone)
    return drawn(
        lambda: _figure(shown, zone),
        title=f"Plan und Wirklichkeit von {found.release}",
        description=description(found),
        name=name,
    )


def description(found: ReleaseReport) -> str:
    """The picture in words."""
    zone = ZoneInfo(found.timezone)
    return " ".join(
        f"{step.told}: geplant {both[0].astimezone(zone):%H:%M}, tatsächlich {both[1].astimezone(zone):%H:%M:%S}."
        for step in found.steps
        if (both := _both(found, step))
    )


def _both(found: ReleaseReport, step: Step) -> tuple[datetime, datetime] | None:
    """Planned and actual time of a step, where both are on the day of the cutover."""
    turning = next((one.planned for one in found.steps if one.name == "cutover"), None)
    if step.planned is None or step.actual is None or turning is None:
        return None
    near = abs(step.planned - turning) < _A_DAY and abs(step.actual - turning) < _A_DAY
    return (step.planned, step.actual) if near else None


def _figure(shown: Sequence[tuple[Step, datetime, datetime]], zone: ZoneInfo) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(8.2, 1.4 + 0.32 * len(shown)))
    axes = figure.subplots()
    for row, (step, planned, actual) in enumerate(shown):
        then, now = planned.timestamp(), actual.timestamp()
        colour = _LATE if step.state == "late" else _ACTUAL
        axes.plot([then, now], [row, row], color=colour, linewidth=1.4)
        axes.plot([then], [row], marker="o", markersize=7, markerfacecolor="white", color=_PLANNED, linestyle="")
        axes.plot(
            [now], [row], marker="D" if step.state == "late" else "s", markersize=5, color=colour, linestyle=""
        )
    moments = [moment.timestamp() for _, planned, actual in shown for moment in (planned, actual)]
    start, end = min(moments), max(moments)
    margin = max(60.0, 0.04 * (end - start))
    marked = ticks(start - margin, end + margin)
    axes.set_xlim(start - margin, end + margin)
    axes.set_xticks(marked, [f"{datetime.fromtimestamp(tick, zone):%H:%M}" for tick in marked])
    axes.set_yticks(range(len(shown)), [step.told for step, _, _ in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f"Uhrzeit ({zone.key})")
    axes.grid(visible=True, axis="x", color="#e3e3e3", linewidth=0.6)
    axes.set_axisbelow(True)
    handles = [
        Line2D([], [], marker="o", markerfacecolor="white", color=_PLANNED, linestyle="", label="geplant"),
        Line2D([], [], marker="s", color=_ACTUAL, linestyle="", label="tatsächlich"),
        Line2D([], [], marker="D", color=_LATE, linestyle="", label="tatsächlich, verspätet"),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8)
    figure.subplots_adjust(left=0.32, right=0.97, top=0.96, bottom=0.85 / (1.4 + 0.32 * len(shown)))
    return figure
