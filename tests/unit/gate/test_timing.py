"""How long a question waits, and when people are reminded of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.gate.timing import wait

T = datetime(2030, 1, 15, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reminder", "at"),
    [(None, 75.0), (20.0, 80.0), (0.0, None), (99.5, 0.5)],
)
def test_people_are_reminded_before_the_deadline(reminder: float | None, at: float | None) -> None:
    asked = wait(T, 100, reminder)
    assert asked.deadline == T + timedelta(seconds=100)
    assert asked.remind_at == (None if at is None else T + timedelta(seconds=at))


def test_it_waits_until_the_reminder_and_then_until_the_deadline() -> None:
    asked = wait(T, 100, 20)
    assert asked.next(T) == timedelta(seconds=80)
    assert asked.next(T + timedelta(seconds=80)) == timedelta(seconds=20)
    assert asked.next(T + timedelta(seconds=200)) == timedelta(0)
    assert wait(T, 100, 0).next(T) == timedelta(seconds=100)


@given(
    timeout=st.floats(1, 1e6),
    reminder=st.one_of(st.none(), st.floats(0, 1e6)),
    awake=st.lists(st.floats(0, 30), max_size=20),
)
def test_who_sleeps_as_long_as_told_reminds_at_most_once_and_is_never_early_with_silence(
    timeout: float, reminder: float | None, awake: list[float]
) -> None:
    """``awake``: how late each waking is."""
    asked, now, reminded = wait(T, timeout, reminder), T, 0
    for late in [*awake, 0.0, 0.0, 0.0]:
        now += asked.next(now) + timedelta(seconds=late)
        if asked.is_over(now):
            break
        reminded += asked.reminds(now)
    assert asked.is_over(now)
    assert now >= asked.deadline
    assert reminded <= 1
    if asked.remind_at and (not awake or awake[0] < (asked.deadline - asked.remind_at).total_seconds() - 1):
        assert reminded == 1
