"""Series of a watch in bounded room: points of equal width, which doubles whenever they become too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from include.slo.verdict import State, heavier

MOST_POINTS: Final = 240


@dataclass(frozen=True)
class Point:
    """What happened in one step of the timeline.

    :param at: its beginning, seconds since the epoch
    :param seconds: its width
    :param p95_seconds: the largest of the polls' 95th percentiles, None when none told
    :param state: the heaviest of the polls' verdicts
    :param probe_ok: whether every round of the prober succeeded; None without any that could tell
    """

    at: float
    seconds: float
    requests: float = 0.0
    errors: float = 0.0
    p95_seconds: float | None = None
    state: State = "HEALTHY"
    probe_ok: bool | None = None

    def merged(self, other: Point) -> Point:
        """Both in one, at the place of this one."""
        known = [value for value in (self.p95_seconds, other.p95_seconds) if value is not None]
        probes = [ok for ok in (self.probe_ok, other.probe_ok) if ok is not None]
        return replace(
            self,
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            p95_seconds=max(known, default=None),
            state=heavier(self.state, other.state),
            probe_ok=all(probes) if probes else None,
        )


def extended(points: Sequence[Point], point: Point, *, began_at: float) -> tuple[Point, ...]:
    """The timeline with one more poll.

    :param point: any width up to that of the others; it goes into the step its ``at`` lies in
    """
    width = points[-1].seconds if points else point.seconds
    step = began_at + width * max(0, int((point.at - began_at) // width))
    if points and step <= points[-1].at:
        return (*points[:-1], points[-1].merged(point))
    longer = (*points, replace(point, at=step, seconds=width))
    return longer if len(longer) <= MOST_POINTS else _halved(longer, began_at)


def _halved(points: Sequence[Point], began_at: float) -> tuple[Point, ...]:
    width = 2 * points[-1].seconds
    halved: list[Point] = []
    for point in points:
        step = began_at + width * int((point.at - began_at) // width)
        if halved and halved[-1].at == step:
            halved[-1] = halved[-1].merged(point)
        else:
            halved.append(replace(point, at=step, seconds=width))
    return tuple(halved)


def thinned_series(
    series: Sequence[tuple[float, float]], at: float, value: float, *, most: int
) -> tuple[tuple[float, float], ...]:
    """A series with one more value; a full one keeps every other and grows half as fast from then on.

    :param series: (seconds since the epoch, value), in the order of time
    :param most: so many at most
    """
    if series and at <= series[-1][0]:
        return tuple(series)
    if len(series) >= 2 and at - series[-1][0] < (series[-1][0] - series[0][0]) / most:
        return tuple(series)
    longer = (*series, (at, value))
    return longer if len(longer) <= most else longer[::2]
