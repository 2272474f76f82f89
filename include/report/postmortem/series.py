"""The series that a watch recorded, and the limits it was held against. Nothing measured is never zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from include.report.postmortem.incident import Incident
from include.report.postmortem.model import Limits, Point, Series, Stretch

_FIELDS: Final = ("at", "seconds", "requests", "errors", "p95_seconds", "state", "probe_ok")
_UNDECIDED: Final = "UNKNOWN"


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
    return Series(tuple(points), _gaps(points), _undecided(points), unreadable)


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
        poll_seconds=_number(watch.get("poll_seconds")),
    )


def _windows(incident: Incident) -> Iterable[Sequence[Any]]:
    """The points of each window as they were told last."""
    windows: dict[object, Sequence[Any]] = {}
    for entry in incident.of("watch.checkpoint", "watch.ended"):
        for place in (entry.payload, _mapping(entry.payload, "account")):
            if isinstance(place.get("points"), list) and place["points"]:
                windows[entry.payload.get("number", 0)] = place["points"]
    return windows.values()


def _point(raw: object) -> Point | None:
    if isinstance(raw, list):
        raw = dict(zip(_FIELDS, raw, strict=False))
    if not isinstance(raw, dict):
        return None
    at, seconds = _number(raw.get("at")), _number(raw.get("seconds"))
    requests, errors = _count(raw.get("requests")), _count(raw.get("errors"))
    if at is None or seconds is None or seconds <= 0 or requests is None or errors is None or errors > requests:
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
        if joined and stretch.start - joined[-1].end <= 0.5 * (stretch.end - stretch.start):
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: object) -> int | None:
    number = _number(value)
    return round(number) if number is not None and number >= 0 else None
