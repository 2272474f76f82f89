"""What a judgement looks like: a verdict made of findings, each of them a sentence with its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from include.slo.window import WindowStats

State = Literal["HEALTHY", "UNKNOWN", "DEGRADED", "ROLLBACK"]

# What weighs more wins: a known fault over missing data, missing data over health.
_WEIGHT: Final[dict[State, int]] = {"HEALTHY": 0, "UNKNOWN": 1, "DEGRADED": 2, "ROLLBACK": 3}


@dataclass(frozen=True)
class Finding:
    """One rule's answer; ``rule`` is its name in the plan (``triggers.error_rate``) or ``data``."""

    rule: str
    state: State
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """What is known of a slot at one moment.

    :param state: the heaviest of the findings' states
    :param sentence: everything that is of this state, the rule that matters most first
    :param stats: the short window of the rules' own source
    :param gathering: UNKNOWN only because the first window is not full yet: nothing is missing, it is just early
    :param page: why a human has to know now that nothing is known; empty while nobody has to
    :param measures: figures that are shown and judged by no rule
    """

    state: State
    sentence: str
    findings: tuple[Finding, ...]
    stats: WindowStats
    gathering: bool = False
    page: str = ""
    measures: Mapping[str, float | int | str | None] = field(default_factory=dict)


def heavier(one: State, other: State) -> State:
    """Which of two states weighs more."""
    return one if _WEIGHT[one] >= _WEIGHT[other] else other


def heaviest(findings: Iterable[Finding]) -> Finding:
    """The first finding of the heaviest state.

    :raises ValueError: there is none
    """
    return max(findings, key=lambda finding: _WEIGHT[finding.state])


def said(findings: Iterable[Finding], state: State) -> str:
    """The sentences of one state, each rule once; of health the first one says enough."""
    sentences = {(f.rule, f.sentence): f.sentence for f in findings if f.state == state}
    return next(iter(sentences.values()), "") if state == "HEALTHY" else "; ".join(sentences.values())


def percent(share: float) -> str:
    """``0.301`` as ``30.1 %``."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float) -> str:
    """``0.5`` as ``500 ms``."""
    return f"{1000 * seconds:.0f} ms"
