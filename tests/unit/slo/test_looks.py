"""Looks are thinned without losing how long something has been so."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from include.slo.lasting import lasting
from include.slo.looks import sparse
from include.slo.samples import ProbeSample

State = Literal["ok", "failed", "unusable"]
STATES: tuple[State, ...] = ("ok", "failed", "unusable")
GAP = 30.0
ROUNDS = st.lists(st.tuples(st.floats(0.1, GAP / 2), st.sampled_from(STATES)), max_size=60)


def probes(rounds: list[tuple[float, State]]) -> list[ProbeSample]:
    at, looks = 0.0, []
    for step, state in rounds:
        at += step
        looks.append(ProbeSample(at, state))
    return looks


def failing(looks: list[ProbeSample] | tuple[ProbeSample, ...]) -> float:
    told = ((p.at, None if p.state == "unusable" else p.state == "failed") for p in reversed(looks))
    run = lasting(told, gap_seconds=GAP)
    return run.seconds if run else -1.0


@given(ROUNDS)
def test_a_run_is_as_long_in_what_is_kept(rounds: list[tuple[float, State]]) -> None:
    looks = probes(rounds)
    kept = sparse(looks, apart_seconds=GAP / 2)
    changes = sum(one.state != other.state for one, other in pairwise(looks))
    assert failing(kept) <= failing(looks)
    assert failing(kept) >= failing(looks) - GAP / 2 * (changes + 1)
    if all(state == "failed" for _, state in rounds):
        assert abs(failing(kept) - failing(looks)) < 1e-6


@given(ROUNDS)
def test_little_is_kept_and_never_not_the_newest(rounds: list[tuple[float, State]]) -> None:
    looks = probes(rounds)
    kept = sparse(looks, apart_seconds=GAP / 2)
    assert list(kept) == [one for one in looks if one in kept], "in the order of time"
    assert list(kept[-1:]) == looks[-1:]
    for before, one in pairwise(kept[:-1]):
        assert one.state != before.state or one.at - before.at >= GAP / 2
