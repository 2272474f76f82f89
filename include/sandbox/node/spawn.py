"""Owns what the keeper does to operating-system processes: start, find, measure and end them.

Every process of a container carries :data:`MARK` in its environment, whatever session or parent it moves to, so
nothing that a container started can escape its end. Only the standard library is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

MARK = "STELLWERK_KEEPER"
CONTAINER_MARK = "STELLWERK_CONTAINER"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants this process's children instead of init's."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(argv: Sequence[str], env: Mapping[str, str], cwd: str, out: int, err: int) -> int:
    """Run a program in a session of its own that dies with this process; returns its pid.

    :raises OSError: when the program or its folder cannot be used
    """
    keeper = os.getpid()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(keeper, argv, env, cwd, out, err, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as reader:
        failure = reader.read()
    if failure:
        os.waitpid(pid, 0)
        number, _, what = failure.decode().partition(" ")
        raise OSError(int(number), os.strerror(int(number)), what)
    return pid


def _become(
    keeper: int, argv: Sequence[str], env: Mapping[str, str], cwd: str, out: int, err: int, tell: int
) -> None:
    what = argv[0]
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)  # the keeper died before the line above could bind this process to it
        for number in (
            signal.SIGPIPE,
            signal.SIGXFSZ,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGCHLD,
        ):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        what = cwd
        os.chdir(cwd)
        what = argv[0]
        os.execve(argv[0], list(argv), dict(env))
    except OSError as problem:
        os.write(tell, f"{problem.errno} {what}".encode())
    finally:
        os._exit(127)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid, its identity. 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def marked(mark: str, value: str) -> Iterator[int]:
    """The pids of all living processes whose environment holds this mark."""
    wanted = f"{mark}={value}".encode()
    me = os.getpid()
    for entry in os.listdir("/proc"):  # noqa: PTH208 — a hundred Path objects for a look at numbers
        if not entry.isdigit() or int(entry) == me:
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as environ:  # noqa: PTH123
            if wanted in environ.read().split(b"\0"):
                yield int(entry)


def kill_marked(mark: str, value: str) -> int:
    """SIGKILL every process with this mark; returns how many there were."""
    count = 0
    for pid in marked(mark, value):
        count += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return count


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process group a container's first process leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def anonymous_memory(pid: int) -> int:
    """Bytes of memory that belong to a process and its descendants alone, 0 when it is gone."""
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{current}/status").read_bytes().splitlines():
                if line.startswith(b"RssAnon:"):
                    total += int(line.split()[1]) * 1024
            waiting += [
                int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()
            ]
    return total
