"""Load is judged by the plan's thresholds; what is not known is no pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.load.figures import Asked, Figures
from include.load.verdict import judge
from include.plan.staging import LoadThresholds

LIMITS = LoadThresholds(p95_seconds=0.5, error_rate=0.01, requests_per_second=10, min_requests=500)
GOOD = Figures(
    1000,
    5,
    0.2,
    50.0,
    slowest="GET /a: P95 400 ms",
    why_failed=("GET /a: status 500 (5 times)",),
    silence_seconds=2.0,
    asked=(Asked("GET /a", 990, 5, {20.0: 990}), Asked("GET /b", 10, 0, {20.0: 10})),
)
TITLES = ("GET /a", "GET /b")


def asked(*others: Asked) -> dict[str, Any]:
    return {"asked": (GOOD.asked[0], *others)}


def test_what_meets_all_of_them_passes() -> None:
    assert judge(GOOD, LIMITS, TITLES).sentence == "PASSED"


@pytest.mark.parametrize(
    ("change", "result", "why"),
    [
        (
            {"failures": 11},
            "FAILED",
            "error rate 1.10 % of 1000 requests, at most 1 % are allowed; GET /a: status",
        ),
        ({"p95_seconds": 0.501}, "FAILED", "P95 501 ms (GET /a: P95 400 ms), at most 500 ms"),
        ({"requests_per_second": 9.9}, "FAILED", "9.9 requests per second, at least 10"),
        ({"requests": 499}, "UNKNOWN", "499 request(s) were made, 500 are needed"),
        ({"requests": 0, "failures": 0, "p95_seconds": None}, "UNKNOWN", "0 request(s) were made"),
        ({"p95_seconds": None}, "UNKNOWN", "there is no P95"),
        ({"p95_seconds": None, "failures": 1000}, "FAILED", "error rate 100.00 %"),
        ({"silence_seconds": 10.1}, "FAILED", "for 10 s nobody got a right answer, at most 10 s"),
        ({"silence_seconds": None}, "UNKNOWN", "how long nobody got an answer is not known"),
        (asked(), "UNKNOWN", "GET /b was never asked"),
        (asked(Asked("GET /b", 9, 9, {1.0: 9})), "FAILED", "error rate of GET /b 100.00 % of 9 requests"),
        (asked(Asked("GET /b", 9, 0, {900.0: 9})), "FAILED", "P95 of GET /b 900 ms, at most 500 ms"),
        (asked(Asked("GET /b", 20, 1, {1.0: 19, 900.0: 1})), "PASSED", ""),  # one of twenty may be chance
    ],
)
def test_what_does_not(change: dict[str, Any], result: str, why: str) -> None:
    found = judge(replace(GOOD, **change), LIMITS, TITLES)
    assert found.result == result
    assert why in found.sentence


def test_no_figures_are_no_pass() -> None:
    assert judge(None, LIMITS, TITLES).result == "UNKNOWN"


numbers = st.floats(0, 1e4, allow_nan=False)


@given(st.integers(0, 2000), st.integers(0, 2000), st.one_of(st.none(), numbers), numbers)
def test_a_pass_means_that_every_threshold_was_seen_to_hold(
    requests: int, failures: int, p95: float | None, rate: float
) -> None:
    figures = Figures(requests, min(failures, requests), p95, rate, silence_seconds=0.0)
    found = judge(figures, LIMITS, ())
    holds = (
        requests >= LIMITS.min_requests
        and figures.failures <= LIMITS.error_rate * requests
        and p95 is not None
        and p95 <= LIMITS.p95_seconds
        and rate >= LIMITS.requests_per_second
    )
    assert (found.result == "PASSED") == holds
    assert bool(found.reasons) == (not holds)
    assert found.result != "FAILED" or requests >= LIMITS.min_requests
