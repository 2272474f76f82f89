"""The guard of one supervised program: a process of its own that lets nothing of it survive.

Run as a script with nothing but the standard library (`processes.Process` starts it). The guard

* starts the program in a session of its own, with SIGKILL as its parent-death signal,
* adopts every descendant the program leaves behind (child subreaper),
* notices the death of whoever started it by the end of a pipe, whichever thread or signal ended it,
* on SIGTERM or on that death stops the program's group, then ends whatever is left,
* ends with the program's exit code, 128 + n when signal n ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ORPHAN_GRACE_SECONDS = 5.0  # nobody waits for an orphan's clean end longer than this
LEFTOVER_GRACE_SECONDS = 2.0


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _children(parent: int) -> list[int]:
    """Process ids whose parent is `parent`, zombies excluded."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - called in a loop while stopping; no Path per process
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text(errors="replace")
        except OSError:
            continue
        state, ppid = stat.rpartition(")")[2].split()[:2]
        if int(ppid) == parent and state != "Z":
            found.append(int(entry))
    return found


def descendants(root: int) -> list[int]:
    """Process ids of everything below `root`, nearest first."""
    found: list[int] = []
    queue = [root]
    while queue:
        children = _children(queue.pop(0))
        found += children
        queue += children
    return found


def _signal(pid: int, number: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)


class Guard:
    """One program and everything it starts."""

    def __init__(self, argv: list[str], stop_signal: int, stop_timeout: float, lifeline: int, report: int) -> None:
        self.argv = argv
        self.stop_signal = stop_signal
        self.stop_timeout = stop_timeout
        self.lifeline = lifeline
        self.report = report
        self.pid = 0
        self.code: int | None = None
        self.deadline: float | None = None
        self.wakeup, writer = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def spawn(self) -> None:
        """Start the program and report its process id, or why it cannot be started."""
        guard = os.getpid()
        # The pipe closes by itself when exec succeeds; before that it carries the error.
        self.pid = os.fork()
        if self.pid == 0:
            self._exec(guard)
        os.write(self.report, json.dumps({"pid": self.pid}).encode() + b"\n")
        os.close(self.report)

    def _exec(self, guard: int) -> None:
        try:
            os.setsid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(125)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.set_inheritable(self.report, False)
            os.set_inheritable(self.lifeline, False)
            os.execvp(self.argv[0], self.argv)
        except OSError as error:
            os.write(self.report, json.dumps({"error": f"{self.argv[0]}: {error.strerror}"}).encode() + b"\n")
        finally:
            os._exit(127)

    def run(self) -> int:
        """Wait for the program's end, the starter's end or SIGTERM; leave nothing behind."""
        watched = [self.wakeup, self.lifeline]
        while self.code is None:
            wait = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
            ready, _, _ = select.select(watched, [], [], wait)
            self.reap()
            if self.lifeline in ready:
                watched.remove(self.lifeline)
                self.stop(min(self.stop_timeout, ORPHAN_GRACE_SECONDS))
            if self.wakeup in ready and self._asked_to_stop():
                self.stop(self.stop_timeout)
            if self.deadline is not None and time.monotonic() >= self.deadline:
                _signal(self.pid, signal.SIGKILL, group=True)
                self.deadline = time.monotonic() + 1
        self.end_leftovers()
        return self.code

    def _asked_to_stop(self) -> bool:
        numbers = set(os.read(self.wakeup, 4096))
        return bool(numbers & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

    def stop(self, timeout: float) -> None:
        """Ask the program's group to end within `timeout` seconds."""
        if self.deadline is None and self.code is None:
            _signal(self.pid, self.stop_signal, group=True)
            self.deadline = time.monotonic() + timeout

    def reap(self) -> None:
        """Collect every child that ended, adopted ones too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def end_leftovers(self) -> None:
        """End what the program left behind: SIGTERM, a moment, SIGKILL until nothing is left."""
        deadline = time.monotonic() + LEFTOVER_GRACE_SECONDS
        number: int = signal.SIGTERM
        asked: set[int] = set()
        while left := descendants(os.getpid()):
            if time.monotonic() >= deadline:
                number, asked = signal.SIGKILL, set()
            for pid in left:
                if pid not in asked:
                    _signal(pid, number)
                    asked.add(pid)
            time.sleep(0.02)
            self.reap()


def main(arguments: list[str]) -> int:
    """`guard.py LIFELINE_FD REPORT_FD STOP_SIGNAL STOP_TIMEOUT FROM_MAIN_THREAD PROGRAM ARGUMENT…`."""
    lifeline, report, stop_signal, stop_timeout, from_main_thread, *argv = arguments
    if from_main_thread == "1":
        # A second way to learn of the starter's death; it fires when the starting *thread* ends.
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = Guard(argv, int(stop_signal), float(stop_timeout), int(lifeline), int(report))
    guard.spawn()
    return guard.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
