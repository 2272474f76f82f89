"""The evaluator agrees with an independent oracle on every trace, and the traces notice every broken evaluator."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from tests.unit.slo.quality.generate import FAMILIES, traces
from tests.unit.slo.quality.mutants import MUTANTS
from tests.unit.slo.quality.mutation import Mutant, broken
from tests.unit.slo.quality.truth import Trace
from tests.unit.slo.quality.verdicts import Expected, caught_by, disagreements, expected_of

EACH = 8


@cache
def labelled() -> tuple[tuple[Trace, Expected], ...]:
    return tuple((trace, expected_of(trace)) for trace in traces(EACH))


def of_family(family: str) -> list[tuple[Trace, Expected]]:
    return [(trace, expected) for trace, expected in labelled() if trace.family == family]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_evaluator_agrees_with_the_oracle(family: str) -> None:
    found = [str(d) for trace, expected in of_family(family) for d in disagreements(trace, expected)]
    assert found == []


def test_the_set_is_large_and_of_every_kind() -> None:
    assert len(labelled()) >= 200
    states = Counter(poll.state for _, expected in labelled() for poll in expected.polls)
    assert min(states[state] for state in ("HEALTHY", "DEGRADED", "UNKNOWN", "ROLLBACK")) >= 1000
    ends = Counter(expected.passed for _, expected in labelled())
    assert min(ends.values()) >= 50


def test_no_trace_without_data_passes() -> None:
    for trace, expected in [*of_family("never-seen"), *of_family("silent"), *of_family("only-health-checks")]:
        assert not expected.passed
        assert not list(disagreements(trace, expected))


@pytest.mark.exhaustive  # it tests the traces, not the evaluator
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_broken_evaluator_is_noticed(mutant: Mutant) -> None:
    assert caught_by(mutant, labelled()) is not None


def test_changing_nothing_is_not_noticed() -> None:
    """What is noticed is the change, not the way in which it is made."""
    modules = (
        "counters",
        "criteria",
        "evaluate",
        "lasting",
        "moment",
        "newest",
        "pods",
        "summary",
        "triggers",
        "window",
    )
    same = (("from __future__", "from __future__"),)
    unchanged = [Mutant(f"unchanged {name}", f"include.slo.{name}", same) for name in modules]
    of_each_kind = list({trace.family: (trace, expected) for trace, expected in labelled()}.values())
    assert [caught_by(mutant, of_each_kind[n::10]) for n, mutant in enumerate(unchanged)] == [None] * len(
        unchanged
    )


def test_a_mutant_whose_line_is_gone_is_an_error() -> None:
    with (
        pytest.raises(AssertionError, match="does not stand in"),
        broken(Mutant("outdated", "include.slo.lasting", (("no such line", ""),))),
    ):
        pytest.fail("the change was not refused")
