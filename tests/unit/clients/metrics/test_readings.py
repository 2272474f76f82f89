"""One number of a query's answer, or the sentence that says why there is none."""

from __future__ import annotations

import math

import pytest

from include.clients.metrics.readings import reading, worst_is_low
from include.clients.prometheus import Answer, Series
from include.plan.rules import NamedRule, Rule

RULE = Rule(limit=1.0, query="up")


def vector(*values: float, warnings: tuple[str, ...] = ()) -> Answer:
    found = tuple(Series({"pod": f"p{n}"}, ((5.0, value),)) for n, value in enumerate(values))
    return Answer("vector", found, warnings)


def read(answer: Answer, name: str = "triggers.error_rate", rule: Rule = RULE):
    return reading(name, rule, answer, 6.0)


def test_the_worst_element_counts():
    low = NamedRule(name="free", query="up", limit=1, crossed="below")
    assert read(vector(1, 3, 2)).value == 3
    assert read(vector(1, 3, 2), "criteria.more.free", low).value == 1
    assert read(vector(1, 3, 2), "criteria.sse_connections").value == 1
    assert read(vector(4)).taken_at == 5.0
    assert worst_is_low("criteria.more.free", low)


def test_a_scalar_is_a_number():
    assert read(Answer("scalar", (Series({}, ((5.0, 7.0),)),))).value == 7


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (vector(), "gives nothing"),
        (vector(1, math.nan), "gives nan for pod=p1"),
        (vector(math.inf), "gives inf"),
        (vector(*range(51)), "gives 51 elements, more than 50"),
        (vector(1, warnings=("one store is out",)), "Prometheus warns: one store is out"),
        (Answer("matrix", (Series({}, ((1.0, 1.0),)),)), "gives a matrix"),
        (Answer("string", ()), "gives a string"),
    ],
)
def test_what_is_no_value(answer: Answer, words: str) -> None:
    found = read(answer)
    assert found.value is None
    assert words in found.problem
    assert found.taken_at == 6.0
