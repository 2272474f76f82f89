"""What Locust has measured: its files read, whatever is missing in them. Times are in seconds.

The totals come from its JSON, which is written at the very end; its CSV files lack the last second.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

AGGREGATED: Final = "Aggregated"
TOTALS: Final = "load_stats.json"
HISTORY: Final = "load_stats_history.csv"
FAILURES: Final = "load_failures.csv"
FILES: Final = (TOTALS, HISTORY, FAILURES, "load_stats.csv", "load_exceptions.csv")
_SHARE: Final = 0.95
_MOST_FAILURES: Final = 5
_OWN: Final = re.compile(r"CatchResponseError\(['\"](.*)['\"]\)")


@dataclass(frozen=True)
class Point:
    """One second of the test.

    :param at: seconds since the epoch
    :param p95_seconds: over the last seconds; None while nothing was answered
    """

    at: float
    users: int
    requests_per_second: float
    failures_per_second: float
    p95_seconds: float | None


@dataclass(frozen=True)
class Figures:
    """The whole test.

    :param requests: that ended, failed ones included
    :param p95_seconds: None when nothing was answered
    :param slowest: the request with the largest P95, with it
    :param why_failed: the most frequent failures, a sentence each
    """

    requests: int
    failures: int
    p95_seconds: float | None
    requests_per_second: float
    slowest: str = ""
    why_failed: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()

    @property
    def error_rate(self) -> float | None:
        """Share of failed requests; None without any request."""
        return self.failures / self.requests if self.requests else None

    def facts(self) -> dict[str, Any]:
        """As plain JSON, without the seconds."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "error_rate": self.error_rate,
            "p95_seconds": self.p95_seconds,
            "requests_per_second": round(self.requests_per_second, 3),
            "slowest": self.slowest,
            "why_failed": list(self.why_failed),
        }


@dataclass(frozen=True)
class _Total:
    """One kind of request."""

    name: str
    requests: int
    failures: int
    began: float
    ended: float
    times: Mapping[float, int]


def read(folder: Path) -> Figures | None:
    """Read a test's files; None when there are none that say anything."""
    totals = _totals(folder / TOTALS)
    if totals is None:
        return None
    requests = sum(one.requests for one in totals)
    asked = [one for one in totals if one.requests]
    span = max(one.ended for one in asked) - min(one.began for one in asked) if asked else 0.0
    return Figures(
        requests=requests,
        failures=sum(one.failures for one in totals),
        p95_seconds=percentile(*(one.times for one in totals)),
        requests_per_second=requests / span if span > 0 else 0.0,
        slowest=_slowest(totals),
        why_failed=_failures(folder / FAILURES),
        points=tuple(_points(folder / HISTORY)),
    )


def percentile(*times: Mapping[float, int]) -> float | None:
    """The time in seconds within which 95 % of the requests were answered; None without any.

    :param times: milliseconds → how many requests took as long
    """
    counted: dict[float, int] = {}
    for one in times:
        for milliseconds, number in one.items():
            counted[milliseconds] = counted.get(milliseconds, 0) + number
    left = math.ceil(_SHARE * sum(counted.values()))
    for milliseconds in sorted(counted):
        left -= counted[milliseconds]
        if left <= 0:
            return milliseconds / 1000
    return None


def _totals(file: Path) -> list[_Total] | None:
    try:
        content = json.loads(file.read_bytes())
        return [_total(one) for one in content]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _total(one: Mapping[str, Any]) -> _Total:
    times = {float(milliseconds): int(number) for milliseconds, number in one["response_times"].items()}
    return _Total(
        str(one["name"]),
        int(one["num_requests"]),
        int(one["num_failures"]),
        float(one["start_time"] or 0),
        float(one["last_request_timestamp"] or 0),
        times,
    )


def _slowest(totals: Sequence[_Total]) -> str:
    known = [(p95, one.name) for one in totals if (p95 := percentile(one.times)) is not None]
    if not known:
        return ""
    seconds, name = max(known)
    return f"{name}: P95 {1000 * seconds:.0f} ms"


def _failures(file: Path) -> tuple[str, ...]:
    rows = sorted(_rows(file), key=lambda row: -(_number(row, "Occurrences") or 0))
    return tuple(
        f"{row.get('Name')}: {_said(str(row.get('Error')))} ({row.get('Occurrences')} times)"
        for row in rows[:_MOST_FAILURES]
    )


def _said(error: str) -> str:
    """The error on one line, without the name of Locust's own wrapper around it."""
    line = " ".join(error.split())
    own = _OWN.fullmatch(line)
    return (own[1] if own else line)[:200]


def _points(file: Path) -> Iterator[Point]:
    for row in _rows(file):
        at = _number(row, "Timestamp")
        if row.get("Name") != AGGREGATED or at is None:
            continue
        yield Point(
            at=at,
            users=int(_number(row, "User Count") or 0),
            requests_per_second=_number(row, "Requests/s") or 0.0,
            failures_per_second=_number(row, "Failures/s") or 0.0,
            p95_seconds=_seconds(row, "95%") or None,  # before the first answer Locust writes 0
        )


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    yield from csv.DictReader(io.StringIO(text))


def _number(row: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(row.get(name) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    milliseconds = _number(row, name)
    return None if milliseconds is None else milliseconds / 1000
