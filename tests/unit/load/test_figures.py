"""Locust's files are read, whatever is missing in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.load.figures import FILES, Figures, percentile, read


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
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,95%\n"
    "1000,0,,Aggregated,0.0,0.0,0\n"
    "1000,0,GET,/a,0.0,0.0,0\n"
    "1001,5,,Aggregated,8.5,0.5,210\n"
    "1002,5,,Aggregated,9.0,0.0,N/A\n"
    "\n"
)
FAILURES = (
    "Method,Name,Error,Occurrences\n"
    "GET,/a,\"CatchResponseError('status 500, expected 200')\",1\n"
    "GET,/b,\"ConnectionResetError(104,\n 'reset')\",7\n"
)


def written(folder: Path, *texts: str) -> Path:
    for name, text in zip(FILES, texts, strict=False):
        (folder / name).write_text(text)
    return folder


def test_the_whole_test_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, STATS, HISTORY, FAILURES))
    assert found is not None
    assert (found.requests, found.failures, found.error_rate) == (100, 2, 0.02)
    assert (found.p95_seconds, found.requests_per_second, found.slowest) == (0.12, 10.0, "/b: P95 480 ms")
    assert found.why_failed == (
        "/b: ConnectionResetError(104, 'reset') (7 times)",
        "/a: status 500, expected 200 (1 times)",
    )
    assert [(point.users, point.p95_seconds) for point in found.points] == [(0, None), (5, 0.21), (5, None)]
    assert found.facts()["error_rate"] == 0.02


@pytest.mark.parametrize("text", ["", "[", "{}x", '"text"', "[1]", '[{"name": "a"}]', "null"])
def test_no_file_and_a_damaged_one_are_no_figures(tmp_path: Path, text: str) -> None:
    assert read(tmp_path) is None
    assert read(written(tmp_path, text)) is None


@pytest.mark.parametrize("text", ["[]", json.dumps([an_entry("/a", 0, 0, {})])])
def test_nothing_was_asked(tmp_path: Path, text: str) -> None:
    found = read(written(tmp_path, text))
    assert found == Figures(0, 0, None, 0.0)
    assert found.error_rate is None


@given(st.dictionaries(st.integers(0, 10_000), st.integers(1, 50), min_size=1))
def test_95_of_100_are_no_slower_than_p95(times: dict[int, int]) -> None:
    p95 = percentile({float(time): number for time, number in times.items()})
    assert p95 is not None
    total = sum(times.values())
    within = sum(number for time, number in times.items() if time / 1000 <= p95)
    faster = sum(number for time, number in times.items() if time / 1000 < p95)
    assert within >= 0.95 * total > faster - 1e-9


@given(st.text())
@pytest.mark.parametrize("which", [0, 1, 2])
def test_damaged_files_never_break_it(tmp_path_factory: pytest.TempPathFactory, which: int, text: str) -> None:
    texts = [STATS, HISTORY, FAILURES]
    texts[which] = texts[which] + text
    folder = written(tmp_path_factory.mktemp("load"), *(one.encode(errors="replace").decode() for one in texts))
    read(folder)
