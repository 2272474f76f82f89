"""The one format of everything the project measures, and its table.

``build/evidence/<name>.json`` holds what was measured, where, and against which goals; ``python -m
include.report.evidence`` shows all of it and fails when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from include.errors import EvidenceError

Value = int | float | str | None
Comparator = Literal["<=", ">=", "=="]

FOLDER = Path(__file__).parents[2] / "build" / "evidence"

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Reference:
    """The same measure of something else, to compare with."""

    name: str
    value: Value


@dataclass(frozen=True)
class Measure:
    """One figure.

    :param value: None when it could not be measured
    :param unit: SI where there is one
    :param goal: what was to be reached; None when the figure only informs
    :param comparator: how the value has to stand to the goal
    :param samples: the single observations behind the value
    :raises EvidenceError: a goal without comparator, the reverse, or a goal of another type than the value's
    """

    name: str
    value: Value
    unit: str
    goal: int | float | str | None = None
    comparator: Comparator | None = None
    reference: Reference | None = None
    samples: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (self.goal is None) != (self.comparator is None):
            raise EvidenceError(f"{self.name}: a goal needs a comparator, and the reverse")
        if self.comparator is not None and self.comparator not in _COMPARE:
            raise EvidenceError(f"{self.name}: unknown comparator", expected="<=, >= or ==", seen=self.comparator)
        if (
            self.goal is not None
            and self.value is not None
            and isinstance(self.goal, str) != isinstance(self.value, str)
        ):
            raise EvidenceError(f"{self.name}: {self.value!r} cannot be compared with the goal {self.goal!r}")

    @property
    def ok(self) -> bool:
        """The goal is reached, or there is none. What was not measured reaches no goal."""
        if self.comparator is None:
            return True
        if self.value is None or (isinstance(self.value, float) and not math.isfinite(self.value)):
            return False
        return _COMPARE[self.comparator](self.value, self.goal)


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    :param cpus: processors this process may use
    """

    cpus: int
    memory_bytes: int
    kernel: str

    @classmethod
    def here(cls) -> Machine:
        """The machine this runs on."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(len(os.sched_getaffinity(0)), memory, platform.release())


@dataclass(frozen=True)
class Evidence:
    """All measures of one occasion.

    :param commit: of the repository; ``+changes`` is appended when the working tree differs from it
    """

    name: str
    taken_at: datetime
    commit: str
    machine: Machine
    measures: tuple[Measure, ...]

    @property
    def ok(self) -> bool:
        """Every goal is reached, and something was measured at all."""
        return bool(self.measures) and all(measure.ok for measure in self.measures)

    @classmethod
    def of(cls, name: str, measures: Iterable[Measure], *, now: datetime | None = None) -> Evidence:
        """Evidence measured here and now.

        :param name: of the file: lower-case letters, digits, ``.``, ``_``, ``-``
        :raises EvidenceError: the name is no file name, or two measures have the same name
        """
        measured = tuple(measures)
        names = [measure.name for measure in measured]
        if not _NAME.fullmatch(name):
            raise EvidenceError("evidence needs a plain name", expected=_NAME.pattern, seen=name)
        if len(set(names)) < len(names):
            raise EvidenceError(f"{name}: two measures have the same name", seen=", ".join(sorted(names)))
        return cls(name, now or datetime.now(UTC), commit_of(Path(__file__).parent), Machine.here(), measured)


def write(evidence: Evidence, folder: Path = FOLDER) -> Path:
    """Write ``<folder>/<name>.json``, at once or not at all, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{evidence.name}.json"
    partial = file.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(to_json(evidence), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    partial.replace(file)
    return file


def read(file: Path) -> Evidence:
    """Evidence from a file. Whether it is ok is judged anew, the file's own word is not taken for it.

    :raises EvidenceError: the file is not evidence
    """
    try:
        data = json.loads(file.read_text())
        return Evidence(
            name=data["name"],
            taken_at=datetime.fromisoformat(data["taken_at"]),
            commit=data["commit"],
            machine=Machine(**data["machine"]),
            measures=tuple(_measure(each) for each in data["measures"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"{file} is not evidence", seen=f"{type(error).__name__}: {error}", remedy="measure again"
        ) from error


def to_json(evidence: Evidence) -> dict[str, Any]:
    """The file's content. A figure that is not finite is null: it was not measured."""
    return {
        "name": evidence.name,
        "taken_at": evidence.taken_at.astimezone(UTC).isoformat(timespec="seconds"),
        "commit": evidence.commit,
        "machine": asdict(evidence.machine),
        "ok": evidence.ok,
        "measures": [
            {**asdict(each), "value": _finite(each.value), "samples": [_finite(sample) for sample in each.samples]}
            for each in evidence.measures
        ],
    }


def commit_of(folder: Path) -> str:
    """The commit checked out around the folder; ``unknown`` outside a repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def render(evidence: Sequence[Evidence]) -> str:
    """All measures as tables, one for each evidence."""
    from include.report.table import tables

    return tables(evidence)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show all evidence; 0 when every goal is reached, 1 when one is missed, 2 when there is nothing to show."""
    parser = argparse.ArgumentParser(prog="python -m include.report.evidence", description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: build/evidence")
    folder = parser.parse_args(arguments).folder
    files = sorted(folder.glob("*.json"))
    if not files:
        print(f"no evidence in {folder}: `make demo` measures a release", file=sys.stderr)
        return 2
    try:
        evidence = [read(file) for file in files]
    except EvidenceError as error:
        print(error, file=sys.stderr)
        return 2
    print(render(evidence))
    return 0 if all(each.ok for each in evidence) else 1


def _measure(data: Mapping[str, Any]) -> Measure:
    reference = data["reference"]
    return Measure(
        name=data["name"],
        value=data["value"],
        unit=data["unit"],
        goal=data["goal"],
        comparator=data["comparator"],
        reference=Reference(**reference) if reference else None,
        samples=tuple(data["samples"]),
    )


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
