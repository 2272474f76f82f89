"""What a judgement looks like: a verdict made of findings, each of them a sentence with its figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
    """The heaviest of the findings.

    :param stats: the short window the verdict is about
    :param gathering: UNKNOWN only because the first window is not full yet: nothing is missing, it is just early
    """

    state: State
    sentence: str
    findings: tuple[Finding, ...]
    stats: WindowStats
    gathering: bool = False


def heaviest(findings: Iterable[Finding]) -> Finding:
    """The first finding of the heaviest state.

    :raises ValueError: there is none
    """
    return max(findings, key=lambda finding: _WEIGHT[finding.state])


def percent(share: float) -> str:
    """``0.301`` as ``30.1 %``."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float) -> str:
    """``0.5`` as ``500 ms``."""
    return f"{1000 * seconds:.0f} ms"
