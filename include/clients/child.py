"""One run of another program: never left behind, never killed while it could still end cleanly.

It gets SIGTERM first, whether its task is cancelled or killed: in the latter case from the kernel, when its parent
dies.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
# Loaded here: between fork and exec the child must not import or look up anything.
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Finished:
    """What a run gave back; ``returncode`` is negative when a signal ended it."""

    returncode: int
    stdout: str
    stderr: str


async def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes | None = None,
    folder: Path | None = None,
    grace_seconds: float = 20.0,
    started: Callable[[int], None] = lambda _: None,
) -> Finished:
    """Run a program to its end; when cancelled, end it and wait for that.

    :param environment: its whole environment
    :param stdin: what it reads there; it gets nothing to read otherwise
    :param folder: in which it works; None for the caller's own
    :param grace_seconds: how long it may take after SIGTERM before SIGKILL
    :param started: told the process id
    :raises OSError: it cannot be started
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
        preexec_fn=_end_with(os.getpid()),
    )
    started(process.pid)
    communicating = asyncio.ensure_future(process.communicate(stdin))
    try:
        # Shielded: the pipes must go on being read while it cleans up, else it could block on a full one.
        stdout, stderr = await asyncio.shield(communicating)
    except asyncio.CancelledError:
        await _end(process, communicating, grace_seconds)
        raise
    assert process.returncode is not None, "communicate waits for the end"
    return Finished(process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))


async def _end(
    process: asyncio.subprocess.Process, communicating: asyncio.Future[tuple[bytes, bytes]], grace_seconds: float
) -> None:
    signal_group(process.pid, signal.SIGTERM)
    try:
        # A second cancellation ends the grace early; the process is ended and reaped all the same.
        await asyncio.wait({communicating}, timeout=grace_seconds)
    finally:
        if process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)
        while not communicating.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({communicating})


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a program and what it started; nothing when it has ended already."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _end_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above: nobody would ever tell
            os._exit(1)

    return prepare
