"""What Locust has measured: its files read, whatever is missing in them. Times are in seconds.

The totals come from its JSON, written at the very end; its CSV files lack the last second.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

AGGREGATED: Final = "Aggregated"
TOTALS: Final = "load_stats.json"
HISTORY: Final = "load_stats_history.csv"
FAILURES: Final = "load_failures.csv"
UNFINISHED: Final = "load_unfinished.json"
FILES: Final = (TOTALS, HISTORY, FAILURES, UNFINISHED, "load_stats.csv", "load_exceptions.csv")
_SHARE: Final = 0.95
_MOST_FAILURES: Final = 5
_OWN: Final = re.compile(r"CatchResponseError\(['\"](.*)['\"]\)")


@dataclass(frozen=True)
class Point:
    """One second of the test.

    :param at: seconds since the epoch
    :param p95_seconds: over the last seconds; None while nothing was answered
    :param answered: requests that were answered rightly since the beginning; None when that is not told
    """

    at: float
    users: int
    requests_per_second: float
    failures_per_second: float
    p95_seconds: float | None
    answered: int | None = None


@dataclass(frozen=True)
class Asked:
    """One kind of request.

    :param requests: that were made; failed ones and those that never ended are included
    :param times: milliseconds → how many requests took as long, or at least as long when they never ended
    """

    name: str
    requests: int
    failures: int
    times: Mapping[float, int]

    def slower_than(self, seconds: float) -> int:
        """How many took longer."""
        return sum(number for milliseconds, number in self.times.items() if milliseconds / 1000 > seconds)


@dataclass(frozen=True)
class Figures:
    """The whole test.

    :param requests: that were made; failed ones and those that never ended are included
    :param failures: those that never ended are included
    :param p95_seconds: None when nothing was answered
    :param requests_per_second: over the time that the test had, however early the last answer came
    :param silence_seconds: see :func:`silence`
    :param asked: every kind of request that was made
    :param slowest: the request with the largest P95, with it
    :param why_failed: the most frequent failures, a sentence each
    """

    requests: int
    failures: int
    p95_seconds: float | None
    requests_per_second: float
    slowest: str = ""
    why_failed: tuple[str, ...] = ()
    silence_seconds: float | None = None
    asked: tuple[Asked, ...] = ()
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
            "silence_seconds": self.silence_seconds,
            "slowest": self.slowest,
            "why_failed": list(self.why_failed),
        }


def read(folder: Path, seconds: float) -> Figures | None:
    """Read a test's files; None when there are none that say anything.

    :param seconds: how long the test had
    """
    totals = _told(folder / TOTALS, _total)
    unfinished = _told(folder / UNFINISHED, _unfinished)
    if totals is None or unfinished is None:
        return None
    asked = _together([*totals, *unfinished])
    requests = sum(one.requests for one in asked)
    points = tuple(_points(folder / HISTORY))
    never = [f"{one.name}: no answer until the end ({one.requests} times)" for one in _together(unfinished)]
    return Figures(
        requests=requests,
        failures=sum(one.failures for one in asked),
        p95_seconds=percentile(*(one.times for one in asked)),
        requests_per_second=requests / seconds,
        slowest=_slowest(asked),
        why_failed=(*never, *_failures(folder / FAILURES)),
        silence_seconds=silence(points, seconds),
        asked=asked,
        points=points,
    )


def silence(points: Sequence[Point], seconds: float) -> float | None:
    """The longest time in which nobody got a right answer while there were users; None when that is not told.

    :param seconds: how long the test had; what comes later is its end, when users leave
    """
    longest, since, answered = None, None, 0
    for point in points:
        if point.answered is None or point.at - points[0].at > seconds:
            continue
        if since is None or not point.users:
            since, answered = point.at, point.answered
        longest = max(longest or 0.0, point.at - since)
        if point.answered > answered:
            since, answered = point.at, point.answered
    return longest


def _together(parts: Iterable[Asked]) -> tuple[Asked, ...]:
    """One for each name."""
    found: dict[str, Asked] = {}
    for one in parts:
        known = found.get(one.name, Asked(one.name, 0, 0, {}))
        times = Counter(known.times) + Counter(one.times)
        found[one.name] = Asked(one.name, known.requests + one.requests, known.failures + one.failures, times)
    return tuple(one for one in found.values() if one.requests)


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


def _told(file: Path, one_of: Callable[[Mapping[str, Any]], Asked]) -> list[Asked] | None:
    try:
        return [one_of(one) for one in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _total(one: Mapping[str, Any]) -> Asked:
    times = {float(taken): int(number) for taken, number in one["response_times"].items()}
    return Asked(str(one["name"]), int(one["num_requests"]), int(one["num_failures"]), times)


def _unfinished(one: Mapping[str, Any]) -> Asked:
    return Asked(str(one["name"]), 1, 1, {float(round(1000 * float(one["seconds"]))): 1})


def _slowest(totals: Sequence[Asked]) -> str:
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
    return (own[1] if (own := _OWN.fullmatch(line)) else line)[:200]


def _points(file: Path) -> Iterator[Point]:
    for row in _rows(file):
        at = _number(row, "Timestamp")
        if row.get("Name") != AGGREGATED or at is None:
            continue
        p95 = _number(row, "95%")
        yield Point(
            at=at,
            users=int(_number(row, "User Count") or 0),
            requests_per_second=_number(row, "Requests/s") or 0.0,
            failures_per_second=_number(row, "Failures/s") or 0.0,
            p95_seconds=p95 / 1000 if p95 else None,  # before the first answer Locust writes 0
            answered=_answered(row),
        )


def _answered(row: Mapping[str, str]) -> int | None:
    made, failed = _number(row, "Total Request Count"), _number(row, "Total Failure Count")
    return None if made is None or failed is None else int(made - failed)


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
