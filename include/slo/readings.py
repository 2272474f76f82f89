"""Rules by query: the readings a snapshot holds for a rule are held against its limit, and the worst one counts.

A reading that is missing, old, from the future or no number is not known: it neither proves nor ends anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from include.plan.rules import NamedRule, Rule
from include.slo.lasting import lasting
from include.slo.moment import Moment, gap_seconds
from include.slo.samples import Reading, Snapshot
from include.slo.verdict import Finding, State

# Of these the plan wants at least the limit; of everything else it wants less.
_AT_LEAST = frozenset({"criteria.sse_connections"})
# These must not exceed the limit, and may reach it.
_UP_TO = frozenset({"criteria.memory_growth_ratio", "criteria.sse_reconnect_ratio"})


def by_query(moment: Moment, name: str, rule: Rule, *, broken: State, meanwhile: State) -> Finding:
    """Judge a rule by the answers to its own query.

    :param name: the rule's name in the plan, as the readings carry it
    :param broken: the state of a broken rule
    :param meanwhile: its state until it has been crossed for its ``for_seconds``
    """
    view, short = moment.view(rule), name.partition(".")[2].removeprefix("more.")
    if rule.min_requests and max(view.short.requests, view.long.requests) < rule.min_requests:
        text = f"{short}: too little traffic, {rule.min_requests} requests are needed for a judgement"
        return Finding(name, "UNKNOWN", text)
    looks = [(s.taken_at, _look(s, name, rule, view.allowed_age)) for s in reversed(view.known)]
    newest = next(((at, look) for at, look in looks if look.crossed is not None), None)
    if newest is None or moment.now - newest[0] > view.allowed_age:
        why = looks[0][1].problem if looks else view.missing
        return Finding(name, "UNKNOWN", f"{short}: {why or 'the query has not been answered lately'}")
    if not newest[1].crossed:
        return Finding(name, "HEALTHY", f"{short} {newest[1].text}")
    gap = max(view.allowed_age, gap_seconds(moment.watch, rule.for_seconds))
    run = lasting(((at, look.crossed) for at, look in looks), gap_seconds=gap)
    lasted = run.seconds if run else 0.0
    if lasted < rule.for_seconds:
        return Finding(
            name, meanwhile, f"{short} {newest[1].text}, for {lasted:.0f} s of at most {rule.for_seconds:.0f} s"
        )
    end = f", for {lasted:.0f} s" if rule.for_seconds else ""
    return Finding(name, broken, f"{short} {newest[1].text}{end}{': rollback' if broken == 'ROLLBACK' else ''}")


def crossed(name: str, rule: Rule, value: float) -> bool:
    """Whether a value breaks the rule."""
    if isinstance(rule, NamedRule):
        return value < rule.limit if rule.crossed == "below" else value > rule.limit
    if name in _AT_LEAST:
        return value < rule.limit
    return value > rule.limit if name.startswith("triggers.") or name in _UP_TO else value >= rule.limit


@dataclass(frozen=True)
class _Look:
    """What one snapshot says of a rule; ``crossed`` is None when it does not say."""

    crossed: bool | None
    text: str = ""
    problem: str = ""


def _look(snapshot: Snapshot, name: str, rule: Rule, allowed_age: float) -> _Look:
    values, problems = [], []
    for reading in snapshot.readings:
        if reading.rule == name:
            if why := _problem(reading, snapshot, allowed_age):
                problems.append(why)
            elif reading.value is not None:
                values.append(reading.value)
    bad = [value for value in values if crossed(name, rule, value)]
    if not bad and (problems or not values):
        why = problems[0] if problems else "; ".join(snapshot.errors) or "the query has not been answered"
        return _Look(None, problem=why)
    return _Look(bool(bad), _text(name, rule, bad or values))


def _text(name: str, rule: Rule, values: list[float]) -> str:
    below = name in _AT_LEAST or (isinstance(rule, NamedRule) and rule.crossed == "below")
    worst = min(values) if below else max(values)
    unit = f" {rule.unit}" if isinstance(rule, NamedRule) and rule.unit else ""
    return f"is {worst:g}{unit}, limit {rule.limit:g}{unit}"


def _problem(reading: Reading, snapshot: Snapshot, allowed_age: float) -> str:
    if reading.value is None:
        return reading.problem or "the query gave no value"
    if not math.isfinite(reading.value):
        return f"the query gave {reading.value}, which is no number"
    age = snapshot.taken_at - reading.taken_at
    if age > allowed_age:
        return f"the query's answer is {age:.0f} s old"
    return f"the query's answer is {-age:.0f} s ahead of this clock" if -age > allowed_age else ""
