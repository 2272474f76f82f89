"""What the query of one rule answered, as one number or as the sentence that says why there is none."""

from __future__ import annotations

import math
from typing import Final

from include.clients.prometheus import Answer
from include.plan.rules import NamedRule, Rule
from include.slo.samples import Reading

MOST_ELEMENTS: Final = 50


def worst_is_low(name: str, rule: Rule) -> bool:
    """Whether the smallest element is the one that counts, because the rule is broken below its limit."""
    if isinstance(rule, NamedRule):
        return rule.crossed == "below"
    return name == "criteria.sse_connections"


def reading(name: str, rule: Rule, answer: Answer, now: float) -> Reading:
    """The worst of the elements; an answer without a usable one has no value.

    :param now: when it was asked, in seconds since the epoch
    """
    problem = _problem(answer)
    if problem:
        return Reading(name, now, problem=problem)
    points = [one.samples[-1] for one in answer.series]
    pick = min if worst_is_low(name, rule) else max
    _, value = pick(points, key=lambda point: point[1])
    return Reading(name, max(at for at, _ in points), value)


def _problem(answer: Answer) -> str:
    if answer.warnings:
        return f"Prometheus warns: {'; '.join(answer.warnings)}"
    if answer.kind not in ("vector", "scalar"):
        return f"the query gives a {answer.kind} instead of a number for each series"
    if not answer.series:
        return "the query gives nothing"
    if len(answer.series) > MOST_ELEMENTS:
        return (
            f"the query gives {len(answer.series)} elements, more than {MOST_ELEMENTS}: add them up in the query"
        )
    bad = [one for one in answer.series if not math.isfinite(one.samples[-1][1])]
    if bad:
        labels = ", ".join(f"{name}={value}" for name, value in bad[0].labels.items())
        return f"the query gives {bad[0].samples[-1][1]:g}{f' for {labels}' if labels else ''}, which is no number"
    return ""
