"""What is wrong with a tree or with what it is about to do, said so that somebody can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["block", "unknown", "warn"]
"""``unknown`` is what could not be judged: it is no pass, and an environment's policy says what it means."""

STRENGTH: dict[str, int] = {"block": 0, "unknown": 1, "warn": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it has to be.

    :param rule: name of the rule, for the environment's policy and the runbook
    :param file: the revision's file, or where else it has to be mended; "" when it is about no file
    :param line: of that file, 0 when unknown
    :param revision: "" when it is about no single revision
    :param operation: the statement or operation, for humans; strings in it are left out
    """

    rule: str
    severity: Severity
    what: str
    remedy: str
    file: str = ""
    line: int = 0
    revision: str = ""
    operation: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        operation = f" [{self.operation}]" if self.operation else ""
        return f"{f'{place}: ' if place else ''}{self.what}{operation}; do: {self.remedy} ({self.rule})"
