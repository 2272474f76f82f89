"""The old version's tests as a program: what its end means, and that nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from include.database.connection import Database
from include.steps.database.old_version import run_suite

DATABASE = Database("db.local", 5432, "erp_rehearsal", "owner", "p@ss")
# A browser, a worker: it has started something, which does not listen to SIGTERM either.
STARTS = """
import subprocess, sys, time
code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
started.stdout.readline()
open(sys.argv[1], "w").write(str(started.pid))
time.sleep(float(sys.argv[2]))
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(file: Path) -> bool:
    """Whether it has ended; a container's first process may leave it to be collected."""
    try:
        return bool(psutil.Process(int(file.read_text())).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("code", "ok", "sentences"),
    [
        ("print('an order was placed')", True, ("an order was placed",)),
        ("print('one failed'); raise SystemExit(3)", False, ("exit code 3", "one failed")),
        ("import os; os.kill(os.getpid(), 9)", False, ("ended by signal 9",)),
        ("import os; os.kill(os.getpid(), 15)", False, ("ended by signal 15",)),
    ],
)
def test_what_its_end_means(code: str, *, ok: bool, sentences: tuple[str, ...]) -> None:
    result = run_suite([sys.executable, "-c", code], DATABASE, timeout_seconds=60)
    assert (result.ok, result.sentences) == (ok, sentences)
    assert result.name.startswith(sys.executable)


def test_a_program_that_is_not_there_is_said() -> None:
    result = run_suite(["/nowhere/suite"], DATABASE, timeout_seconds=60)
    assert not result.ok
    assert "No such file or directory: '/nowhere/suite'" in result.sentences[0]


@pytest.mark.parametrize(("runs", "ok"), [("60", False), ("0", True)])
def test_what_it_has_started_ends_with_it(tmp_path: Path, runs: str, *, ok: bool) -> None:
    file = tmp_path / "pid"
    result = run_suite([sys.executable, "-c", STARTS, str(file), runs], DATABASE, timeout_seconds=60 if ok else 8)
    assert result.ok == ok
    assert gone(file)


def test_what_it_has_started_ends_with_a_killed_task(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    argv = [sys.executable, "-c", STARTS, str(file), "60"]
    code = (
        "from include.database.connection import Database\n"
        "from include.steps.database.old_version import run_suite\n"
        f"run_suite({argv!r}, Database('db', 5432, 'erp', 'owner'), timeout_seconds=60)"
    )
    root = str(Path(__file__).parents[4])
    with subprocess.Popen([sys.executable, "-c", code], env={"PYTHONPATH": root, "PATH": ""}) as task:
        until(lambda: file.exists() and bool(file.read_text()))
        task.send_signal(signal.SIGKILL)
        until(lambda: gone(file))
