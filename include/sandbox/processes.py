"""Processes of the sandbox: each supervised by a guard, none survives the one who started it.

Every program runs below a small guard process (`guard.py`) in a session of its own. Stopping sends
SIGTERM to the program's group, waits, then SIGKILL; descendants that moved to other sessions are ended
too. When the starter dies, even by SIGKILL, the guard ends the program: programs may be started from any
thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from include.errors import SandboxError
from include.sandbox.guard import descendants

GUARD = Path(__file__).with_name("guard.py")
# Below the kernel's range for outgoing connections (32768…) and apart from NodePorts (20000…32767).
PORTS = range(10240, 20000)
_handed_out: set[tuple[str, int]] = set()


class Process:
    """One supervised program.

    :param name: short name for messages
    :param argv: program and arguments; never a shell line
    :param env: the whole environment; the caller's own when None
    :param cwd: working directory
    :param log: file that takes standard output and error, appended
    :param stop_timeout: seconds between the stop signal and SIGKILL
    :param stop_signal: the signal that asks the program's group to end
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path,
        stop_timeout: float = 10.0,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.argv = tuple(str(part) for part in argv)
        self.env = dict(env) if env is not None else None
        self.cwd = cwd
        self.log = log
        self.stop_timeout = stop_timeout
        self.stop_signal = stop_signal
        self._guard: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._pid: int | None = None

    def start(self) -> None:
        """Start the program; return once it has a process id.

        :raises SandboxError: it runs already, or the program cannot be executed
        """
        if self.alive:
            raise SandboxError(f"{self.name} runs already", seen=f"process {self.pid}")
        self._release()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        lifeline_read, lifeline = os.pipe()
        report_read, report = os.pipe()
        main_thread = "1" if threading.current_thread() is threading.main_thread() else "0"
        guard = [sys.executable, "-I", "-S", str(GUARD), str(lifeline_read), str(report)]
        guard += [str(int(self.stop_signal)), str(self.stop_timeout), main_thread, *self.argv]
        try:
            with self.log.open("ab") as log:
                self._guard = subprocess.Popen(
                    guard,
                    env=self.env,
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lifeline_read, report),
                    start_new_session=True,
                )
        except BaseException:
            os.close(lifeline)
            os.close(report_read)
            raise
        finally:
            os.close(lifeline_read)
            os.close(report)
        self._lifeline = lifeline
        with os.fdopen(report_read, "rb") as reports:
            self._take(reports.read())

    def _take(self, report: bytes) -> None:
        """Understand the guard's report: the process id, or why there is none."""
        lines = [json.loads(line) for line in report.splitlines()]
        self._pid = next((line["pid"] for line in lines if "pid" in line), None)
        error = next((line["error"] for line in lines if "error" in line), None)
        if error is not None or self._pid is None:
            self.stop()
            raise SandboxError(
                f"{self.name} cannot be started",
                seen=error or self.log_tail(10),
                remedy="check the program's path",
            )

    def stop(self) -> None:
        """End the program and everything it started; does nothing when it is not running."""
        guard = self._guard
        if guard is not None and guard.poll() is None:
            guard.send_signal(signal.SIGTERM)
            try:
                guard.wait(self.stop_timeout + 10)
            except subprocess.TimeoutExpired:
                for pid in [*descendants(guard.pid), guard.pid]:
                    _kill(pid)
                guard.wait()
        self._release()

    def _release(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    @property
    def pid(self) -> int:
        """The program's own process id (not the guard's).

        :raises SandboxError: it was never started
        """
        if self._pid is None:
            raise SandboxError(f"{self.name} was not started")
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the program, or something it left behind, still runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The program's exit code, 128 + n after signal n; None while it runs or was never started."""
        return None if self._guard is None else self._guard.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended by itself.

        :param timeout: seconds
        :raises SandboxError: it was never started, or still runs after `timeout`
        """
        if self._guard is None:
            raise SandboxError(f"{self.name} was not started")
        try:
            return self._guard.wait(timeout)
        except subprocess.TimeoutExpired:
            raise SandboxError(f"{self.name} still runs after {timeout} s", seen=self.log_tail(10)) from None

    def log_tail(self, n: int = 20) -> str:
        """The last `n` lines of the log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 400 * n))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-n:])

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at `host`, never the same one twice in a process.

    :raises SandboxError: none found
    """
    for _ in range(1000):
        port = random.choice(PORTS)
        if (host, port) in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _handed_out.add((host, port))
        return port
    raise SandboxError(
        "no free port", expected=f"a free TCP port between {PORTS.start} and {PORTS.stop} at {host}"
    )


def wait_until(
    predicate: Callable[[], object],
    *,
    deadline_seconds: float,
    what: str,
    process: Process | None = None,
    poll_seconds: float = 0.1,
) -> None:
    """Wait until `predicate` is true; an exception of it counts as "not yet".

    :param deadline_seconds: how long to wait
    :param what: what is awaited, for the message ("the API server is ready")
    :param process: who has to make it true; when it ends, waiting ends too
    :raises SandboxError: with the last exception and the process's log tail
    """
    deadline = time.monotonic() + deadline_seconds
    last = ""
    while True:
        try:
            if predicate():
                return
            last = ""
        except Exception as error:  # noqa: BLE001 - anything a half-started component does means "not yet"
            last = f"{type(error).__name__}: {error}"
        if process is not None and not process.alive:
            seen = f"{process.name} ended with code {process.exit_code}"
        elif time.monotonic() >= deadline:
            seen = f"not after {deadline_seconds:g} s"
        else:
            time.sleep(poll_seconds)
            continue
        tail = f"\n--- {process.log}\n{process.log_tail()}" if process is not None else ""
        raise SandboxError(f"waited in vain: {what}", seen="; ".join(filter(None, [seen, last])) + tail)
