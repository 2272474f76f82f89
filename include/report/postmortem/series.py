"""The series that a watch recorded, and the limits it was held against. Nothing measured is never zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from include.report.postmortem.incident import Incident
from include.report.postmortem.model import Limits, Point, Series, Stretch

_FIELDS: Final = ("at", "seconds", "requests", "errors", "p95_seconds", "state", "probe_ok")
_UNDECIDED: Final = "UNKNOWN"
_TOUCHING_SECONDS: Final = 0.01
_LONGEST_SECONDS: Final = 7 * 86400
_LARGEST: Final = 1e15
_END_OF_TIME: Final = 4e9
_BAD: Final = ("DEGRADED", "ROLLBACK")


def series(incident: Incident) -> Series:
    """What the watch recorded of its windows, those that were held and watched on included.

    A window that never ended (its process was killed) has left its last checkpoint.
    """
    points: list[Point] = []
    unreadable = 0
    for recorded in _windows(incident):
        read = [_point(raw) for raw in recorded]
        unreadable += read.count(None)
        later = sorted((point for point in read if point is not None), key=lambda point: point.at)
        # A window that was extended tells its beginning again, in wider buckets.
        if later:
            points = [*(point for point in points if point.end <= later[0].at), *later]
    points = _spread(points)
    return Series(tuple(points), _gaps(points), _undecided(points), unreadable)


def over(found: Series, start: datetime | None, end: datetime | None) -> Series:
    """The series with what is missing of the time from ``start`` (the cutover) to ``end`` (the switch back)."""
    if not found.points:
        return found
    first, last = found.points[0], found.points[-1]
    edges = []
    if start is not None and first.at - start.timestamp() > 1.5 * first.seconds:
        edges.append(Stretch(start.timestamp(), first.at))
    if end is not None and end.timestamp() - last.end > 1.5 * last.seconds:
        edges.append(Stretch(last.end, end.timestamp()))
    return replace(found, gaps=_joined([*found.gaps, *edges]))


def limits(incident: Incident) -> Limits:
    """The limits recorded when the watch began."""
    config = incident.config
    slo, watch = _mapping(config, "environment", "slo"), _mapping(config, "environment", "watch")
    triggers, criteria = _mapping(slo, "triggers"), _mapping(slo, "criteria")
    return Limits(
        trigger_error_rate=_limit(triggers.get("error_rate")),
        trigger_p95_seconds=_limit(triggers.get("p95_seconds")),
        criterion_error_rate=_limit(criteria.get("error_rate")),
        criterion_p95_seconds=_limit(criteria.get("p95_seconds")),
        window_seconds=_number(watch.get("window_seconds")),
        stale_seconds=_number(watch.get("stale_seconds")),
        poll_seconds=_number(watch.get("poll_seconds")),
    )


def first_bad(points: Sequence[Point], allowed: Limits, detected_at: float | None) -> Point | None:
    """The bucket in which the fault began to show; None when the series does not show it.

    The watch judges over a window, so before the bucket that it judged bad, or that it detected the fault in, some
    were beyond a trigger by their own numbers. One that stands alone and earlier says nothing.

    :param detected_at: seconds since the epoch; None when the watch did not detect it
    """
    until = [index for index, point in enumerate(points) if detected_at is not None and point.at <= detected_at]
    judged = (index for index, point in enumerate(points) if point.state in _BAD)
    beyond = (index for index, point in enumerate(points) if not until and _beyond(point, allowed))
    start = next(judged, until[-1] if until else next(beyond, None))
    if start is None or not (points[start].state in _BAD or _beyond(points[start], allowed)):
        return None
    for index in range(start - 1, -1, -1):
        if _beyond(points[index], allowed):
            start = index
        elif points[index].requests:
            break
    return points[start]


def _beyond(point: Point, allowed: Limits) -> bool:
    """Beyond a trigger by its own numbers; a single request says nothing."""
    rate, p95 = point.error_rate, point.p95_seconds
    failing = allowed.trigger_error_rate is not None and rate is not None and rate > allowed.trigger_error_rate
    slow = allowed.trigger_p95_seconds is not None and p95 is not None and p95 > allowed.trigger_p95_seconds
    return (failing and point.errors > 1) or (slow and point.requests > 1)


def _windows(incident: Incident) -> Iterable[Sequence[Any]]:
    """The points of each window as they were told last."""
    windows: dict[str, Sequence[Any]] = {}
    for entry in incident.of("watch.checkpoint", "watch.ended"):
        for place in (entry.payload, _mapping(entry.payload, "account")):
            if isinstance(place.get("points"), list) and place["points"]:
                windows[str(entry.payload.get("number", 0))] = place["points"]
    return windows.values()


def _point(raw: object) -> Point | None:
    if isinstance(raw, list):
        raw = dict(zip(_FIELDS, raw, strict=False))
    if not isinstance(raw, dict):
        return None
    at, seconds = _number(raw.get("at")), _number(raw.get("seconds"))
    requests, errors = _count(raw.get("requests")), _count(raw.get("errors"))
    if at is None or seconds is None or requests is None or errors is None:
        return None
    if not 0 <= at < _END_OF_TIME or not 0 < seconds < _LONGEST_SECONDS or errors > requests:
        return None
    p95, probe = _number(raw.get("p95_seconds")), raw.get("probe_ok")
    return Point(
        at=at,
        seconds=seconds,
        requests=requests,
        errors=errors,
        p95_seconds=p95 if requests and p95 is not None and p95 >= 0 else None,
        state=str(raw.get("state") or _UNDECIDED),
        probe_ok=probe if isinstance(probe, bool) else None,
    )


def _spread(points: Sequence[Point]) -> list[Point]:
    """The points with what was counted at a scrape spread over the polls since the one before.

    Whoever polls more often than the numbers change counts nothing for a while and then everything at once. Where
    the watch did not know (UNKNOWN), nothing is spread: that is a gap.
    """
    spread: list[Point] = []
    waiting: list[Point] = []
    for point in points:
        if waiting and point.at - waiting[-1].end > 0.5 * point.seconds:
            spread += waiting
            waiting = []
        if not point.requests:
            if point.state == _UNDECIDED:
                spread += [*waiting, point]
                waiting = []
            else:
                waiting.append(point)
            continue
        start = waiting[0].at if waiting else point.at
        spread.append(replace(point, at=start, seconds=point.end - start))
        waiting = []
    return [*spread, *waiting]


def _gaps(points: Sequence[Point]) -> tuple[Stretch, ...]:
    """Buckets in which nothing was counted, and times between two buckets."""
    empty = [Stretch(point.at, point.end) for point in points if not point.requests]
    between = [
        Stretch(before.end, after.at)
        for before, after in pairwise(points)
        if after.at - before.end > 0.5 * before.seconds
    ]
    return _joined([*empty, *between])


def _undecided(points: Sequence[Point]) -> tuple[Stretch, ...]:
    return _joined(Stretch(p.at, p.end) for p in points if p.requests and p.state == _UNDECIDED)


def _joined(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    joined: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda one: one.start):
        if joined and stretch.start - joined[-1].end <= _TOUCHING_SECONDS:
            joined[-1] = Stretch(joined[-1].start, max(joined[-1].end, stretch.end))
        else:
            joined.append(stretch)
    return tuple(joined)


def _mapping(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        inner = value.get(name)
        value = inner if isinstance(inner, dict) else {}
    return value


def _limit(rule: object) -> float | None:
    return _number(rule.get("limit")) if isinstance(rule, dict) else _number(rule)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        return None
    return float(value)


def _count(value: object) -> int | None:
    number = _number(value)
    return round(number) if number is not None and number >= 0 else None
