"""Back-off between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.node.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff, starts_again, words


def test_the_first_restart_is_immediate_then_10_20_40_up_to_300_seconds() -> None:
    backoff, now, waits = Backoff(), 1000.0, []
    for _ in range(9):
        waits.append(backoff.remaining(now, now))
        now += waits[-1]
        backoff = backoff.next(now, now)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_long_calm_is_forgiven() -> None:
    backoff = Backoff(delay=300.0, updated_at=1000.0)
    ended_at = 1000.0 + 601
    assert backoff.remaining(ended_at, ended_at) == 0
    assert backoff.next(ended_at, ended_at) == Backoff(FIRST_SECONDS, ended_at)


def test_waiting_counts_from_the_end_of_what_failed() -> None:
    assert Backoff(delay=20.0, updated_at=100.0).remaining(130.0, 145.0) == 5.0


@given(st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 400)), max_size=40))
def test_the_delay_stays_within_its_bounds_whatever_happens(history: list[tuple[float, float]]) -> None:
    backoff, now = Backoff(), 0.0
    for ran, late in history:
        ended_at = now + ran
        now = ended_at + late
        remaining = backoff.remaining(ended_at, now)
        assert 0 <= remaining <= LONGEST_SECONDS
        now += remaining
        assert backoff.remaining(ended_at, now) == pytest.approx(0, abs=1e-6)
        following = backoff.next(ended_at, now)
        assert FIRST_SECONDS <= following.delay <= LONGEST_SECONDS
        assert following.delay in (FIRST_SECONDS, min(backoff.delay * 2, LONGEST_SECONDS))
        backoff = following


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (59.6, "1m0s")])
def test_durations_read_as_kubernetes_prints_them(seconds: float, text: str) -> None:
    assert words(seconds) == text


@pytest.mark.parametrize(
    ("policy", "code", "init", "again"),
    [
        ("Always", 0, False, True),
        ("Always", 1, False, True),
        ("OnFailure", 0, False, False),
        ("OnFailure", 1, False, True),
        ("Never", 0, False, False),
        ("Never", 1, False, False),
        ("Always", 0, True, False),
        ("Always", 1, True, True),
        ("Never", 1, True, False),
    ],
)
def test_restart_policies(policy: str, code: int, init: bool, again: bool) -> None:
    assert starts_again(policy, code, init=init) is again
