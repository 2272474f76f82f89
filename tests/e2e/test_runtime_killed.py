"""Whoever started Airflow is killed while a task runs: nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from include.sandbox.airflow_environment import REPOSITORY
from include.sandbox.postgres import Postgres
from tests.e2e.runtime_fixtures import listens, still_running

GONE_SECONDS = 20

_STARTER = """
import signal
import sys
from pathlib import Path
from include.sandbox.postgres import Postgres
from tests.e2e.runtime_fixtures import make_runtime, run_long_task

state = Path(sys.argv[1])
postgres = Postgres(state / "postgres")
postgres.start()
runtime = make_runtime(state, postgres)
try:
    runtime.start()
    run_long_task(runtime)
    print(runtime.url, flush=True)
    signal.pause()
finally:
    runtime.stop()
    postgres.remove()
"""


@pytest.mark.exhaustive
def test_killing_the_one_who_started_it_ends_everything(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", _STARTER, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as starter:
        try:
            assert starter.stdout is not None
            url = starter.stdout.readline().strip()
            below = psutil.Process(starter.pid).children(recursive=True)
        finally:
            starter.kill()
        starter.wait(GONE_SECONDS)
    psutil.wait_procs(below, timeout=GONE_SECONDS)
    assert still_running(below) == []
    assert not listens(url)
    Postgres(tmp_path / "postgres").remove()
