"""What Locust has measured: its CSV files read, whatever is missing in them. Times are in seconds."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

AGGREGATED: Final = "Aggregated"
FILES: Final = ("load_stats.csv", "load_stats_history.csv", "load_failures.csv", "load_exceptions.csv")
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


def read(folder: Path) -> Figures | None:
    """Read a test's files; None when there are none that say anything."""
    stats = list(_rows(folder / FILES[0]))
    whole = next((row for row in stats if row.get("Name") == AGGREGATED), None)
    requests = _number(whole, "Request Count") if whole else None
    if whole is None or requests is None:
        return None
    return Figures(
        requests=int(requests),
        failures=int(_number(whole, "Failure Count") or 0),
        p95_seconds=_seconds(whole, "95%") if requests else None,
        requests_per_second=_number(whole, "Requests/s") or 0.0,
        slowest=_slowest(stats),
        why_failed=_failures(folder / FILES[2]),
        points=tuple(_points(folder / FILES[1])),
    )


def _slowest(stats: list[Mapping[str, str]]) -> str:
    known = [
        (seconds, str(row.get("Name")))
        for row in stats
        if row.get("Name") != AGGREGATED and (seconds := _seconds(row, "95%")) is not None
    ]
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
