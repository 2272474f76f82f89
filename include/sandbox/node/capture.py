"""Owns the log files of containers: lines as kubelet's runtimes write them, with time, stream and completeness.

A line is ``2026-01-31T12:00:00.123456789Z stdout F text``; ``P`` instead of ``F`` marks a piece of a line that
is longer than :data:`LONGEST_LINE`. Only the standard library is imported: the keeper starts in milliseconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LONGEST_LINE = 16 * 1024
ROTATE_AT = 10 * 1024 * 1024


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def rotated(path: Path) -> Path:
    """Where the older half of a log lies once it has grown past :data:`ROTATE_AT` bytes."""
    return path.with_name(path.name + ".1")


class LineFormatter:
    """Turns chunks of one stream into log lines; keeps an unfinished line until its end arrives."""

    def __init__(self, stream: str) -> None:
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, chunk: bytes, now_ns: int) -> bytes:
        """What to write for this chunk."""
        complete, newline, rest = (self._rest + chunk).rpartition(b"\n")
        full = b" ".join((timestamp(now_ns).encode(), self._stream, b"F "))
        partial = b" ".join((timestamp(now_ns).encode(), self._stream, b"P "))
        written = bytearray()
        if newline:
            for line in complete.split(b"\n"):
                written += self._pieces(line, full, partial)
        while len(rest) > LONGEST_LINE:
            written += partial + rest[:LONGEST_LINE] + b"\n"
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        return bytes(written)

    def close(self, now_ns: int) -> bytes:
        """What to write for the unfinished line when the stream ends."""
        return self.feed(b"\n", now_ns) if self._rest else b""

    @staticmethod
    def _pieces(line: bytes, full: bytes, partial: bytes) -> bytes:
        if len(line) <= LONGEST_LINE:
            return full + line + b"\n"
        pieces = [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)]
        return b"".join(partial + piece + b"\n" for piece in pieces[:-1]) + full + pieces[-1] + b"\n"


class LogFile:
    """Appends to one container's log and rotates it, keeping one older file."""

    def __init__(self, path: Path, *, rotate_at: int = ROTATE_AT) -> None:
        self._path = path
        self._rotate_at = rotate_at
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> None:
        """Append whole lines; rotates first when they would not fit."""
        if not data:
            return
        if self._size and self._size + len(data) > self._rotate_at:
            os.close(self._descriptor)
            self._path.replace(rotated(self._path))
            self._descriptor = self._open()
            self._size = 0
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(data)

    def close(self) -> None:
        """End writing."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
