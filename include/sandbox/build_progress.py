"""Owns what a human sees while programs are being built, and the build process while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from include.sandbox.processes import Process

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 30.0  # between signs of life where lines cannot be overwritten (logs)


class Progress:
    """Lines on a stream; on a terminal also a status that each next line overwrites."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._next_status = 0.0 if self._terminal else time.monotonic() + HEARTBEAT_SECONDS
        self._shown = ""

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._stream.write(f"{self._eraser()}{text}\n")
        self._stream.flush()
        self._shown = ""

    def status(self, text: str) -> None:
        """Show what goes on: overwritten on a terminal, a line now and then in a log."""
        now = time.monotonic()
        if now < self._next_status or text == self._shown:
            return
        if self._terminal:
            self._stream.write(f"{self._eraser()}{text}")
            self._shown = text
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._next_status = now + (POLL_SECONDS if self._terminal else HEARTBEAT_SECONDS)

    def _eraser(self) -> str:
        return "\r\x1b[2K" if self._shown else ""


def minutes(seconds: float) -> str:
    """``83.4`` is ``1:23``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def watch_build(process: Process, *, made: Mapping[str, Path], progress: Progress) -> int:
    """Run ``go build -v`` to its end and report each program when its file appears; returns the exit code.

    Whatever ends this call (an error, Ctrl-C), ends the compiler's processes too.

    :param made: program → the file that ``go build`` writes it to
    :raises SandboxError: Go cannot be executed
    """
    started = time.monotonic()
    waiting = dict(made)
    process.log.unlink(missing_ok=True)
    process.start()
    try:
        while (code := process.exit_code) is None:
            elapsed = time.monotonic() - started
            _report_made(waiting, elapsed, progress)
            downloaded, compiled = _counts(process.log)
            progress.status(
                f"  … {minutes(elapsed)}  {downloaded} modules downloaded, {compiled} packages compiled"
            )
            time.sleep(POLL_SECONDS)
    finally:
        process.stop()
    if code == 0:
        _report_made(waiting, time.monotonic() - started, progress)
    return code


def _report_made(waiting: dict[str, Path], elapsed: float, progress: Progress) -> None:
    for name in [name for name, path in waiting.items() if path.exists()]:
        del waiting[name]
        progress.line(f"  {name:<26}{minutes(elapsed):>6}")


def _counts(log: Path) -> tuple[int, int]:
    lines = log.read_bytes().splitlines()
    downloaded = sum(line.startswith(b"go: downloading") for line in lines)
    return downloaded, sum(b" " not in line for line in lines)
