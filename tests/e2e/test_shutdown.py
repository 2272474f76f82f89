"""Ctrl-C and SIGTERM, at whatever moment, leave no process and no listening port behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from include.sandbox.environment import REPOSITORY

GONE_SECONDS = 60


@pytest.mark.parametrize(
    ("moment", "number"),
    [("Kubernetes is ready", signal.SIGTERM), ("Airflow is ready", signal.SIGINT)],
    ids=["early, SIGTERM", "late, Ctrl-C"],
)
def test_nothing_is_left(tmp_path: Path, moment: str, number: int) -> None:
    log = tmp_path / "up.log"
    with log.open("w") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "include.sandbox", "up", "--state", str(tmp_path / "state")],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(moment, log, up)
        family = psutil.Process(up.pid).children(recursive=True)
        ports = {
            (c.laddr.ip, c.laddr.port)
            for process in family
            for c in _connections(process)
            if c.status == psutil.CONN_LISTEN
        }
        assert family, "nothing was running, so nothing was proven"
        # Beside somebody else's cluster nothing of ours listens before Airflow does.
        assert ports or ("Kubernetes" in moment and os.environ.get("KUBECONFIG")), "nothing listened"
        os.kill(up.pid, number)
        assert up.wait(GONE_SECONDS) == 128 + number
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()

    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert [port for port in ports if _answers(*port)] == []


def _wait_for(moment: str, log: Path, up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 400
    while moment not in log.read_text():
        assert up.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def _connections(process: psutil.Process) -> list[object]:
    try:
        return list(process.net_connections(kind="tcp"))
    except psutil.Error:
        return []


def _answers(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex((address.replace("0.0.0.0", "127.0.0.1"), port)) == 0
