"""The watch's window as a picture: error rate and P95 over time, what the rules allow, what happened when.

A time without measurements is a gap in the line and hatched, never a zero. Everything can be told apart without
colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from include.report.drawing import drawn, ticks
from include.report.postmortem.model import MarkName, Point, Stretch, Watched
from include.report.text import clock, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS: Final[tuple[tuple[MarkName, str, str], ...]] = (
    ("cutover", "Umschaltung", "#1b5e20"),
    ("detected", "Erkennung", "#b26a00"),
    ("switched", "Rückschaltung", "#8e0000"),
)
_LINE: Final = "#0b3d91"


@dataclass(frozen=True)
class _Panel:
    """One of the two graphs; the limits are in the unit of ``value``."""

    label: str
    value: Callable[[Point], float | None]
    trigger: float | None
    criterion: float | None
    unit: str


def svg(found: Watched, *, timezone: str, name: str = "stellwerk") -> str | None:
    """Draw the series; None when there is none.

    :param timezone: in which times are told
    :param name: tells pictures of one page apart
    """
    if not found.series.points:
        return None
    return drawn(
        lambda: _draw(found, ZoneInfo(timezone)),
        title=title(found),
        description=description(found, timezone),
        name=name,
    )


def title(found: Watched) -> str:
    """What the picture shows."""
    return f"Fehlerrate und P95 von {found.release} in {found.environment} während der Beobachtung"


def description(found: Watched, timezone: str) -> str:
    """The picture in words, for those who cannot see it."""
    zone, points, numbers = ZoneInfo(timezone), found.series.points, found.numbers
    parts = [f"Von {clock(points[0].at, zone)} bis {clock(points[-1].end, zone)}, {len(points)} Abschnitte."]
    if numbers.highest_error_rate is not None:
        parts.append(f"Höchste Fehlerrate {percent(numbers.highest_error_rate)}.")
    if numbers.highest_p95_seconds is not None:
        parts.append(f"Höchstes P95 {1000 * numbers.highest_p95_seconds:.0f} ms.")
    for name, told, _ in _MARKS:
        if mark := found.mark(name):
            parts.append(f"{told} {clock(mark.at.timestamp(), zone)}.")
    gaps = [f"{clock(gap.start, zone)} bis {clock(gap.end, zone)}" for gap in found.series.gaps]
    parts.append(f"Ohne Messwerte: {', '.join(gaps)}." if gaps else "Keine Lücke in den Messwerten.")
    return " ".join(parts)


def _draw(found: Watched, zone: ZoneInfo) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True)
    limits = found.limits
    _panel(
        upper,
        found,
        _Panel(
            "Fehlerrate in %",
            lambda point: _times(100, point.error_rate),
            _times(100, limits.trigger_error_rate),
            _times(100, limits.criterion_error_rate),
            "%",
        ),
    )
    _panel(
        lower,
        found,
        _Panel(
            "P95 in ms",
            lambda point: _times(1000, point.p95_seconds),
            _times(1000, limits.trigger_p95_seconds),
            _times(1000, limits.criterion_p95_seconds),
            "ms",
        ),
    )
    start, end = _extent(found)
    marked = ticks(start, end)
    lower.set_xlim(start, end)
    lower.set_xticks(marked, [clock(tick, zone) for tick in marked])
    lower.set_xlabel(f"Uhrzeit ({zone.key})")
    _mark(found, (upper, lower))
    _legend(figure, found)
    figure.subplots_adjust(left=0.09, right=0.86, top=0.87, bottom=0.17, hspace=0.14)
    return figure


def _panel(axes: Axes, found: Watched, panel: _Panel) -> None:
    for stretch in found.series.gaps:
        _shade(axes, stretch, hatch="////", colour="#d9d9d9")
    for stretch in found.series.undecided:
        _shade(axes, stretch, hatch="..", colour="#f3f3f3")
    values = _steps(found.series.points, panel.value)
    axes.plot(*values, color=_LINE, linewidth=1.6, solid_capstyle="butt")
    known = [value for value in values[1] if not math.isnan(value)]
    highest = max(known, default=0.0)
    highest = max(highest, panel.trigger or 0.0, panel.criterion or 0.0) or 1.0
    # Zero is a value like others: below it is room, so that its line does not lie on the axis.
    axes.set_ylim(-0.02 * highest, 1.12 * highest)
    _limits(axes, panel, crowded=abs((panel.trigger or 0.0) - (panel.criterion or 0.0)) < 0.08 * highest)
    if not known:
        axes.text(0.5, 0.5, "keine Messwerte", transform=axes.transAxes, ha="center", va="center")
    axes.set_ylabel(panel.label)
    axes.grid(visible=True, axis="y", color="#e3e3e3", linewidth=0.6)
    axes.set_axisbelow(True)


def _limits(axes: Axes, panel: _Panel, *, crowded: bool) -> None:
    """Level lines with their names at the right edge; close to each other, the names make room for each other."""
    for limit, name, style, side in (
        (panel.trigger, "Auslöser", "--", "bottom"),
        (panel.criterion, "Kriterium", ":", "top"),
    ):
        if limit is None:
            continue
        axes.axhline(limit, color="#444444", linewidth=1.0, linestyle=style)
        axes.annotate(
            f"{name} {limit:g} {panel.unit}".replace(".", ","),
            (1.01, limit),
            xycoords=("axes fraction", "data"),
            va=side if crowded else "center",
            fontsize=8,
        )


def _shade(axes: Axes, stretch: Stretch, *, hatch: str, colour: str) -> None:
    axes.axvspan(stretch.start, stretch.end, facecolor=colour, edgecolor="#8c8c8c", hatch=hatch, linewidth=0)


def _mark(found: Watched, panels: Sequence[Axes]) -> None:
    """Vertical lines, their names above the upper graph, each in a row of its own: marks may be a second apart."""
    start, end = panels[0].get_xlim()
    present = [(mark, told, colour) for name, told, colour in _MARKS if (mark := found.mark(name))]
    for row, (mark, told, colour) in enumerate(present):
        at = mark.at.timestamp()
        for axes in panels:
            axes.axvline(at, color=colour, linewidth=1.3, linestyle=("-", "-.", (0, (5, 1)))[row])
        right_half = at > (start + end) / 2
        panels[0].annotate(
            told,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if right_half else 3, 4 + 11 * row),
            textcoords="offset points",
            ha="right" if right_half else "left",
            color=colour,
            fontsize=8.5,
        )


def _legend(figure: Figure, found: Watched) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=_LINE, linewidth=1.6, label="gemessen")]
    if found.series.gaps:
        handles.append(Patch(facecolor="#d9d9d9", edgecolor="#8c8c8c", hatch="////", label="keine Messwerte"))
    if found.series.undecided:
        few = "zu wenig Anfragen für ein Urteil"
        handles.append(Patch(facecolor="#f3f3f3", edgecolor="#8c8c8c", hatch="..", label=few))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8)


def _steps(points: Iterable[Point], value: Callable[[Point], float | None]) -> tuple[list[float], list[float]]:
    """Each bucket as a level line; NaN breaks the line where nothing was measured."""
    nothing = float("nan")
    xs: list[float] = []
    ys: list[float] = []
    end: float | None = None
    for point in points:
        if end is not None and point.at - end > 0.5 * point.seconds:
            xs.append(end)
            ys.append(nothing)
        level = value(point)
        xs += [point.at, point.end]
        ys += [nothing, nothing] if level is None else [level, level]
        end = point.end
    return xs, ys


def _extent(found: Watched) -> tuple[float, float]:
    moments = [found.series.points[0].at, found.series.points[-1].end]
    moments += [mark.at.timestamp() for name, _, _ in _MARKS if (mark := found.mark(name))]
    start, end = min(moments), max(moments)
    margin = 0.03 * (end - start)
    return start - margin, end + margin


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
