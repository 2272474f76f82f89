"""The commands with which people look at a plan, as the Makefile runs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.plan.loader import load_plan

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "include"


def make(command: str, *arguments: str, **environment: str) -> tuple[int, list[str], list[str]]:
    """The command's own exit code, its lines of output and of errors; what it would install first is there."""
    argv = ["make", "--silent", "--no-print-directory", "--old-file=setup", f"PYTHON={sys.executable}", command]
    # Not what `make test` hands down: that is meant for pytest.
    handed_on = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [*argv, f"ARGS={' '.join(arguments)}"],
        cwd=REPOSITORY,
        env={**handed_on, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said, errors = done.stdout.splitlines(), done.stderr.splitlines()
    if done.returncode == 0:
        return 0, said, errors
    ended = re.fullmatch(r"make: \*\*\* \[.*\] Error (\d+)", errors.pop())
    assert ended, done.stderr
    return int(ended[1]), said, errors


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A copy of the plan that ships."""
    for name in ("releases", "environments", "charts"):
        shutil.copytree(SHIPPED / name, tmp_path / name)
    return tmp_path


def write(plan: Path, version: str, **changes: str) -> None:
    """Write the shipped release once more, with other values for some of its keys."""
    lines = (SHIPPED / "releases" / "3.0.0.yaml").read_text().splitlines()
    wanted: Mapping[str, str] = {"version": version, **changes}
    told = [f"{key}: {wanted[key]}" if (key := line.partition(":")[0]) in wanted else line for line in lines]
    (plan / "releases" / f"{version}.yaml").write_text("\n".join(told))


def test_validate_finds_nothing_wrong_with_the_plan_that_ships() -> None:
    code, said, errors = make("validate")
    assert (code, errors) == (0, [])
    assert said == [f"{SHIPPED}: 1 release(s), 2 environment(s), 0 fault(s)"]


def test_calendar_says_when_each_phase_of_the_plan_that_ships_is_due() -> None:
    code, said, errors = make("calendar")
    assert (code, errors) == (0, [])
    head, *lines, total = said
    assert head.endswith(f" UTC, {SHIPPED}")
    release = load_plan(SHIPPED).release("3.0.0")
    assert [line.split()[:3] for line in lines] == [["waiting", "3.0.0", due.name] for due in release.phases]
    assert "production  Thu 2099-01-15 08:00 CET  due in " in next(line for line in lines if "release-day" in line)
    assert total == f"0 phase(s) done, {len(lines)} waiting"


def test_both_name_a_broken_file_and_its_line_and_go_on_with_the_others(plan: Path) -> None:
    (plan / "releases" / "3.0.1.yaml").write_text("version: 3.0.1\nprevious: [\n")
    broken = f"{plan / 'releases' / '3.0.1.yaml'}:3: "
    code, said, errors = make("validate", STELLWERK_PLAN=str(plan))
    assert (code, said) == (1, [f"{plan}: 1 release(s), 2 environment(s), 1 fault(s)"])
    [fault] = errors
    assert fault.startswith(broken)
    assert "; do: " in fault

    code, said, errors = make("calendar", STELLWERK_PLAN=str(plan))
    assert (code, errors) == (1, [])
    assert said[1].startswith(f"BROKEN  {broken}")
    assert said[2].startswith("waiting  3.0.0      release-preparation")


def test_both_refuse_a_release_that_meets_another_one(plan: Path) -> None:
    # Their first phase, at T-7, is due: the calendar refuses only what it would start.
    day = str((datetime.now(UTC) + timedelta(days=5)).date())
    for version in ("3.0.0", "3.0.1"):
        write(plan, version, date=day)
    code, said, errors = make("validate", STELLWERK_PLAN=str(plan))
    assert code == 1
    assert said[0].startswith(f"{plan}: 2 release(s), 2 environment(s), ")
    assert any("3.0.1.yaml:" in line and "within the release day of release 3.0.0" in line for line in errors)

    code, said, errors = make("calendar", "--all", STELLWERK_PLAN=str(plan))
    assert code == 1
    [refused] = [line for line in said if line.startswith("refused")]
    assert refused.split()[1:3] == ["3.0.1", "release-preparation"]
    assert "within the release day of release 3.0.0" in refused
    [unknown] = [line for line in said if line.startswith("unknown")]
    assert unknown.split()[1:3] == ["3.0.0", "release-preparation"]
    assert any("set STELLWERK_LEDGER_URL" in line for line in errors), "why it is not known"


def test_calendar_says_what_is_no_plan(tmp_path: Path) -> None:
    code, said, errors = make("calendar", STELLWERK_PLAN=str(tmp_path))
    assert (code, said) == (2, [])
    assert "is not a plan" in errors[0]
