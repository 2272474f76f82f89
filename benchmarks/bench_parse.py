"""What the plan costs the DAG processor: writes ``build/evidence/parse.json``.

Each DAG file is imported in a fresh fork of a process that has loaded the SDK and nothing of Stellwerk's, over the
plan that ships and over one with 200 releases; processor seconds, the least of some rounds: whatever else the
machine does only adds to them. Half a minute, no cluster, no Airflow.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import shutil
import sys
import tempfile
import time
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "include"
MANY = 200
ROUNDS = 9
FILE_SECONDS = 0.12
ALL_SECONDS = 2.0


def main() -> int:
    """Measure; 0 when every goal is reached, 1 when one is missed."""
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
    importlib.import_module("airflow.sdk").DAG  # noqa: B018 - loads it, as the DAG processor does before it forks
    files = sorted((ROOT / "dags").glob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        many_releases(Path(folder))
        shipped = {file: seconds(file, SHIPPED) for file in files}
        many = {file: seconds(file, Path(folder)) for file in files}
    return judge(shipped, many)


def judge(shipped: dict[Path, list[float]], many: dict[Path, list[float]]) -> int:
    """Write what was measured, and show it."""
    from include.report.evidence import Evidence, Measure, write
    from include.report.table import tables

    each = [
        Measure(
            f"parse.{file.stem}",
            round(min(taken), 4),
            "s",
            goal=FILE_SECONDS,
            comparator="<=",
            samples=tuple(taken),
        )
        for file, taken in shipped.items()
    ]
    total = round(sum(min(taken) for taken in many.values()), 3)
    whole = Measure(f"parse.all_files_{MANY}_releases", total, "s", goal=ALL_SECONDS, comparator="<=")
    evidence = Evidence.of("parse", (*each, whole))
    write(evidence)
    print(tables([evidence]))
    return 0 if evidence.ok else 1


def many_releases(folder: Path) -> None:
    """Make a plan like the one that ships, with its release once a week for years."""
    for name in ("environments", "charts"):
        shutil.copytree(SHIPPED / name, folder / name)
    (folder / "releases").mkdir()
    text = (SHIPPED / "releases" / "3.0.0.yaml").read_text()
    for number in range(MANY):
        day = date(2040, 1, 15) + timedelta(weeks=number)
        one = text.replace("version: 3.0.0", f"version: 4.{number}.0").replace("2099-01-15", str(day))
        (folder / "releases" / f"4.{number}.0.yaml").write_text(one)


def seconds(file: Path, plan: Path) -> list[float]:
    """How long importing the file takes in a fresh fork, for each of some rounds."""
    fork = multiprocessing.get_context("fork")
    taken = []
    for _ in range(ROUNDS):
        here, there = fork.Pipe()
        process = fork.Process(target=_import, args=(file, plan, there))
        process.start()
        taken.append(float(here.recv()))
        process.join()
    return taken


def _import(file: Path, plan: Path, answer: Connection) -> None:
    os.environ["STELLWERK_PLAN"] = str(plan)
    begun = time.process_time()
    runpy.run_path(str(file))
    answer.send(time.process_time() - begun)


if __name__ == "__main__":
    sys.exit(main())
