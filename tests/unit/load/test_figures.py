"""Locust's files are read, whatever is missing in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.load.figures import FILES, Figures, Point, percentile, read, silence


def an_entry(name: str, requests: int, failures: int, times: dict[str, int]) -> dict[str, object]:
    return {
        "name": name,
        "method": "GET",
        "num_requests": requests,
        "num_failures": failures,
        "start_time": 1000.0,
        "last_request_timestamp": 1010.0 if requests else None,
        "response_times": times,
    }


STATS = json.dumps([an_entry("/a", 90, 1, {"10": 85, "120": 5}), an_entry("/b", 10, 1, {"10": 8, "480": 2})])
HISTORY = (
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,95%,Total Request Count,Total Failure Count\n"
    "1000,0,,Aggregated,0.0,0.0,0,0,0\n"
    "1000,0,GET,/a,0.0,0.0,0,0,0\n"
    "1001,5,,Aggregated,8.5,0.5,210,9,1\n"
    "1002,5,,Aggregated,9.0,0.0,N/A,18,1\n"
    "\n"
)
FAILURES = (
    "Method,Name,Error,Occurrences\n"
    "GET,/a,\"CatchResponseError('status 500, expected 200')\",1\n"
    "GET,/b,\"ConnectionResetError(104,\n 'reset')\",7\n"
)


UNFINISHED = json.dumps([{"name": "/b", "seconds": 31.5}])


def written(folder: Path, *texts: str) -> Path:
    for name, text in zip(FILES, texts, strict=False):
        (folder / name).write_text(text)
    return folder


def test_the_whole_test_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, STATS, HISTORY, FAILURES, UNFINISHED), 20)
    assert found is not None
    assert (found.requests, found.failures, found.error_rate) == (101, 3, 3 / 101)
    assert (found.p95_seconds, found.slowest) == (0.12, "/b: P95 31500 ms")
    assert found.requests_per_second == 101 / 20, "over the test's time, not until the last answer"
    assert [(one.name, one.requests, one.failures) for one in found.asked] == [("/a", 90, 1), ("/b", 11, 2)]
    assert found.why_failed == (
        "/b: no answer until the end (1 times)",
        "/b: ConnectionResetError(104, 'reset') (7 times)",
        "/a: status 500, expected 200 (1 times)",
    )
    assert [(point.users, point.p95_seconds, point.answered) for point in found.points] == [
        *((0, None, 0), (5, 0.21, 8), (5, None, 17))
    ]
    assert found.silence_seconds == 1
    assert found.facts()["error_rate"] == 3 / 101


@pytest.mark.parametrize("text", ["", "[", "{}x", '"text"', "[1]", '[{"name": "a"}]', "null"])
def test_no_file_and_a_damaged_one_are_no_figures(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, 10) is None
    assert read(written(tmp_path, text, HISTORY, FAILURES, UNFINISHED), 10) is None
    assert read(written(tmp_path, STATS, HISTORY, FAILURES, text), 10) is None


@pytest.mark.parametrize("text", ["[]", json.dumps([an_entry("/a", 0, 0, {})])])
def test_nothing_was_asked(tmp_path: Path, text: str) -> None:
    found = read(written(tmp_path, text, "", "", "[]"), 10)
    assert found == Figures(0, 0, None, 0.0)
    assert found.error_rate is None


def answers(*told: tuple[float, int, int | None]) -> list[Point]:
    return [Point(at, users, 1.0, 0.0, 0.1, answered) for at, users, answered in told]


@pytest.mark.parametrize(
    ("points", "seconds"),
    [
        (answers((0, 5, 1), (1, 5, 2), (2, 5, 2), (5, 5, 2), (6, 5, 3)), 5.0),
        (answers((0, 5, 0), (9, 5, 0)), 9.0),  # nobody ever got one
        (answers((0, 0, 0), (9, 0, 0), (10, 5, 1)), 1.0),  # nobody was there
        (answers((0, 5, 1), (9, 5, 1), (39, 1, 1)), 9.0),  # at its end users leave
        (answers((0, 5, None), (9, 5, None)), None),
        ([], None),
    ],
)
def test_how_long_nobody_got_an_answer(points: list[Point], seconds: float | None) -> None:
    assert silence(points, 20) == seconds


@given(st.dictionaries(st.integers(0, 10_000), st.integers(1, 50), min_size=1))
def test_95_of_100_are_no_slower_than_p95(times: dict[int, int]) -> None:
    p95 = percentile({float(time): number for time, number in times.items()})
    assert p95 is not None
    total = sum(times.values())
    within = sum(number for time, number in times.items() if time / 1000 <= p95)
    faster = sum(number for time, number in times.items() if time / 1000 < p95)
    assert within >= 0.95 * total > faster - 1e-9


@given(st.text())
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_damaged_files_never_break_it(tmp_path_factory: pytest.TempPathFactory, which: int, text: str) -> None:
    texts = [STATS, HISTORY, FAILURES, UNFINISHED]
    texts[which] = texts[which] + text
    folder = written(tmp_path_factory.mktemp("load"), *(one.encode(errors="replace").decode() for one in texts))
    read(folder, 10)
