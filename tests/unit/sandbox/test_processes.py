"""Processes end with those who started them, whole families at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from include.errors import SandboxError
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.supervisor import Restart, Supervisor

ROOT = Path(__file__).resolve().parents[3]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def wait_for(predicate: Callable[[], object], what: str = "…", seconds: float = 10) -> None:
    wait_until(predicate, deadline_seconds=seconds, what=what, poll_seconds=0.02)


def pid_in(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_runs_in_a_session_of_its_own_with_log_environment_and_folder(tmp_path: Path) -> None:
    code = "import os; print(os.environ['WORD'], os.getcwd(), os.getsid(0) == os.getpid())"
    process = Process("hello", python(code), env={"WORD": "moin"}, cwd=tmp_path, log=tmp_path / "a" / "log")
    process.start()
    assert process.wait(10) == 0
    assert process.log_tail(1) == f"moin {tmp_path} True"
    assert process.exit_code == 0
    assert not process.alive
    process.stop()


def test_stop_sends_the_stop_signal_and_waits(tmp_path: Path) -> None:
    code = (
        "import signal,sys,time\n"
        "def end(*_): print('bye', flush=True); time.sleep(.3); sys.exit(7)\n"
        "signal.signal(signal.SIGINT, end); print('ready', flush=True)\ntime.sleep(60)"
    )
    process = Process("polite", python(code), log=tmp_path / "log", stop_signal=signal.SIGINT)
    process.start()
    wait_for(lambda: process.log_tail() == "ready")
    pid = process.pid
    process.stop()
    assert process.exit_code == 7
    assert process.log_tail() == "ready\nbye"
    assert gone(pid)


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    process = Process("stubborn", python(code), log=tmp_path / "log", stop_timeout=0.3)
    process.start()
    wait_for(lambda: process.log_tail() == "ready")
    started = time.monotonic()
    process.stop()
    assert process.exit_code == 128 + signal.SIGKILL
    assert time.monotonic() - started < 9


ORPHANING = """
import os, signal, subprocess, sys, time
code = "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60 if sys.argv[2] == "stay" else 0.2)
os._exit(3)
"""


@pytest.mark.parametrize("way", ["stay", "crash"])
def test_grandchildren_in_other_sessions_are_ended_too(tmp_path: Path, way: str) -> None:
    pid_file = tmp_path / "pid"
    process = Process("parent", [*python(ORPHANING), str(pid_file), way], log=tmp_path / "log")
    process.start()
    grandchild = pid_in(pid_file)
    if way == "stay":
        process.stop()
    else:
        assert process.wait(10) == 3
    assert gone(grandchild)


STARTER = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from include.sandbox.processes import Process
def go():
    process = Process("sleeper", ["sleep", "60"], log=Path(sys.argv[2]) / "log")
    process.start()
    (Path(sys.argv[2]) / "pid").write_text(str(process.pid))
    held.append(process)
held = []
if sys.argv[3] == "thread":
    thread = threading.Thread(target=go); thread.start(); thread.join()
else:
    go()
time.sleep(60)
"""


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_starters_death_ends_the_program(tmp_path: Path, where: str, number: int) -> None:
    starter = subprocess.Popen([*python(STARTER), str(ROOT), str(tmp_path), where])
    pid = pid_in(tmp_path / "pid")
    time.sleep(0.2)
    assert not gone(pid), "the thread that started it has ended; the program must live on"
    starter.send_signal(number)
    starter.wait(10)
    wait_for(lambda: gone(pid), "the program is gone")


def test_the_guards_death_ends_the_program(tmp_path: Path) -> None:
    with Process("sleeper", ["sleep", "60"], log=tmp_path / "log") as process:
        guard = process._guard
        assert guard is not None
        guard.kill()
        wait_for(lambda: gone(process.pid), "the program is gone")
        assert not process.alive


def test_can_be_started_again_but_not_twice(tmp_path: Path) -> None:
    process = Process("sleeper", ["sleep", "60"], log=tmp_path / "log")
    process.start()
    with pytest.raises(SandboxError, match="runs already"):
        process.start()
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == 128 + signal.SIGKILL
    process.start()
    assert process.alive
    process.stop()
    assert not process.alive


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    process = Process("ghost", ["/nowhere/ghost"], log=tmp_path / "log")
    with pytest.raises(SandboxError, match=r"ghost cannot be started.*No such file"):
        process.start()
    assert not process.alive


def test_repeated_starts_leak_no_descriptors(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Process("true", ["true"], log=tmp_path / "log") as process:
            process.wait(10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_free_ports_are_distinct_and_outside_the_ephemeral_range() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    assert max(ports) < 20000
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports.pop()))


def test_waiting_in_vain_shows_the_last_error_and_the_log(tmp_path: Path) -> None:
    process = Process("dying", python("import sys; print('no disk left'); sys.exit(4)"), log=tmp_path / "log")
    process.start()
    with pytest.raises(SandboxError, match=r"(?s)dying ended with code 4.*no disk left"):
        wait_until(lambda: False, deadline_seconds=20, what="it is ready", process=process)
    process.stop()
    with pytest.raises(SandboxError, match=r"not after 0.1 s; ZeroDivisionError"):
        wait_until(lambda: 1 / 0, deadline_seconds=0.1, what="division")


WRITING_ITS_NAME = """
import signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as order:
        order.write(sys.argv[2])
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""


def test_supervisor_stops_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Supervisor() as supervisor:
        for name in "abc":
            process = Process(name, [*python(WRITING_ITS_NAME), str(order), name], log=tmp_path / name)
            supervisor.start(process, ready=process.log_tail)
    assert order.read_text() == "cba"


def test_supervisor_stops_all_when_one_does_not_become_ready(tmp_path: Path) -> None:
    good = Process("good", ["sleep", "60"], log=tmp_path / "good")
    bad = Process("bad", ["false"], log=tmp_path / "bad")

    def start_both() -> None:
        with Supervisor() as supervisor:
            supervisor.start(good)
            supervisor.start(bad, ready=lambda: False)

    with pytest.raises(SandboxError, match="bad is ready"):
        start_both()
    assert not good.alive


def test_supervisor_restarts_up_to_the_limit(tmp_path: Path) -> None:
    process = Process("flapping", python("print('again')"), log=tmp_path / "log")
    with Supervisor() as supervisor:
        supervisor.start(process, restart=Restart(limit=2))
        with pytest.raises(SandboxError, match="flapping ended"):
            supervisor.run(until=threading.Event(), poll_seconds=0.05)
    assert process.log_tail() == "again\nagain\nagain"


SUPERVISED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from include.sandbox.processes import Process
from include.sandbox.signals import end_on_signals
from include.sandbox.supervisor import Supervisor
with end_on_signals(), Supervisor() as supervisor:
    process = supervisor.start(Process("sleeper", ["sleep", "60"], log=Path(sys.argv[2]) / "log"))
    (Path(sys.argv[2]) / "pid").write_text(str(process.pid))
    supervisor.run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_everything_cleanly(tmp_path: Path, number: int) -> None:
    starter = subprocess.Popen([*python(SUPERVISED), str(ROOT), str(tmp_path)])
    pid = pid_in(tmp_path / "pid")
    starter.send_signal(number)
    assert starter.wait(10) == 128 + number
    assert gone(pid)
