"""Runs somebody else's program, and when that ends, for whatever reason, so has everything that it started.

A script of its own, told the program and its arguments; it imports nothing of Stellwerk. Its starter ends it by
SIGTERM, which the kernel sends as well when the starter dies (:mod:`include.database.clients`). The program has a
session of its own, and that is ended: first by SIGTERM, after some seconds by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

GRACE_SECONDS = 2.0  # less than the starter's patience
_LOOK_SECONDS = 0.05


def main(argv: Sequence[str]) -> int:
    """Run the program; ends as the program did, with its exit code or by its signal."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        process = subprocess.Popen(argv, start_new_session=True)
    except OSError as error:
        sys.exit(f"pg: error: {error}")
    try:
        _wait(lambda: _ended(process.pid) or bool(told))
        if told:
            _signal(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            _wait(lambda: _ended(process.pid) or time.monotonic() > deadline)
    finally:
        _signal(process.pid, signal.SIGKILL)
    code = process.wait()
    if code < 0:
        if -code == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _wait(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(_LOOK_SECONDS)


def _ended(pid: int) -> bool:
    """Whether the program has ended; its number stays taken, so that its session is not mistaken for another."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(session: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
