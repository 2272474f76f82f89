"""Runs a task in a process of its own, and looks at that process from outside: how long, and how much memory."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from benchmarks.database.task import Order
from include.errors import SandboxError
from include.sandbox.environment import REPOSITORY

SAMPLE_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Done:
    """A task that was done.

    :param seconds: from the call of the product's first function to the end of the last one
    :param verification_seconds: the part of it that verifying took
    :param above_idle_bytes: the most that was resident meanwhile, beyond what was before it began
    :param opening_bytes: what opening the store had taken before
    """

    seconds: float
    verification_seconds: float
    above_idle_bytes: int
    opening_bytes: int


@dataclass(frozen=True)
class Resident:
    """What the kernel says about a process's resident memory, in bytes.

    :param most: ever
    """

    now: int
    most: int

    @classmethod
    def of(cls, pid: int) -> Resident:
        """At this moment."""
        # psutil does not tell VmHWM, which no peak between two samples escapes.
        status = Path("/proc", str(pid), "status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return cls(psutil.Process(pid).memory_info().rss, int(found.group(1)) * 1024)


def above_idle(idle: Resident, end: Resident, sampled: int) -> int:
    """How far the memory went above what it was when the process was idle.

    :param sampled: the most that was seen, in bytes; what the kernel kept counts where it is of this time
    """
    peak = max(sampled, end.most) if end.most > idle.most else sampled
    return max(0, peak - idle.now)


def run(order: Order) -> Done:
    """Do the order in a process of its own, which ends with this function.

    :raises SandboxError: it failed; it has told why on standard error
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.database.task"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=REPOSITORY,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        _tell(process.stdin, order.to_json())
        _hear(process.stdout, order)
        started = Resident.of(process.pid)
        _tell(process.stdin, "open")
        _hear(process.stdout, order)
        idle = Resident.of(process.pid)
        _tell(process.stdin, "begin")
        sampled = _sample(process.pid, process.stdout, idle.now)
        answer = json.loads(_hear(process.stdout, order))
        end = Resident.of(process.pid)
        above, opening = above_idle(idle, end, sampled), max(0, idle.now - started.now)
        return Done(answer["seconds"], answer["verification_seconds"], above, opening)
    finally:
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        _end(process)


def _sample(pid: int, stdout: IO[bytes], most: int) -> int:
    """The most memory seen until the process says something or ends."""
    seen = psutil.Process(pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        while not select.select([stdout], [], [], SAMPLE_SECONDS)[0]:
            most = max(most, seen.memory_info().rss)
    return most


def _tell(stream: IO[bytes], line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has ended, as whoever listens to it finds out
        stream.write(f"{line}\n".encode())


def _hear(stream: IO[bytes], order: Order) -> bytes:
    line = stream.readline()
    if not line:
        raise SandboxError(f"the task {order.work} of {order.backup} failed", remedy="see above")
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.terminate()  # its programs end with it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
