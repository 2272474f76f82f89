"""Owns reading containers' logs back: which lines, with or without time, followed while they grow."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from include.sandbox.node.capture import rotated

_POLL_SECONDS: Final = 0.1
_BLOCK: Final = 1 << 16
_LAST_LINES: Final = 80
_LAST_BYTES: Final = 2048


class BadLogOptions(Exception):
    """The request's options make no sense."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted; None: no limit.

    :param since: RFC 3339 in UTC, compared as text with the lines' own times
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: str | None = None
    limit_bytes: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], now: dt.datetime) -> LogOptions:
        """Read the query of a request to kubelet.

        :raises BadLogOptions: in words for the user
        """

        def flag(name: str) -> bool:
            return query.get(name, "false").lower() in ("true", "1")

        def number(name: str) -> int | None:
            text = query.get(name)
            if text is None or text == "":
                return None
            if not text.isdigit():
                raise BadLogOptions(f"{name} must be a number that is not negative, not {text!r}")
            return int(text)

        seconds, since = number("sinceSeconds"), query.get("sinceTime")
        if seconds is not None:
            since = _text(now - dt.timedelta(seconds=seconds))
        elif since:
            try:
                since = _text(dt.datetime.fromisoformat(since))
            except ValueError as problem:
                raise BadLogOptions(f"sinceTime must be RFC 3339, not {since!r}") from problem
        return cls(
            follow=flag("follow"),
            previous=flag("previous"),
            timestamps=flag("timestamps"),
            tail=number("tailLines"),
            since=since or None,
            limit_bytes=number("limitBytes"),
        )


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def shown(line: bytes, options: LogOptions) -> bytes | None:
    """What a user sees of one line as it was written, None when the options exclude it."""
    time, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    completeness, _, text = rest.partition(b" ")
    if options.since is not None and time.decode().rstrip("Z") < options.since:
        return None
    if completeness != b"P":
        text += b"\n"
    return time + b" " + text if options.timestamps else text


def existing(path: Path, options: LogOptions) -> tuple[list[bytes], int]:
    """The lines that are there, as the user sees them, and where in the file the next one will begin."""
    kept: deque[bytes] = deque(maxlen=options.tail)
    older = rotated(path)
    if older.exists():
        with older.open("rb") as file:
            kept.extend(_wanted(_whole_lines(file), options))
    with path.open("rb") as file:
        kept.extend(_wanted(_whole_lines(file), options))
        return list(kept), file.tell()


def _wanted(lines: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    for line in lines:
        text = shown(line, options)
        if text is not None:
            yield text


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Complete lines; leaves the position behind the last one."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), 1)
            return
        yield line[:-1]


async def stream(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """The log as the user wants it, in pieces.

    :param ended: whether the container will write no more; asked before each look at the file
    """
    left = options.limit_bytes
    async for piece in _pieces(path, options, ended):
        if left is None:
            yield piece
            continue
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


async def _pieces(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    over = ended()
    lines, position = await asyncio.to_thread(existing, path, options)
    for start in range(0, len(lines), 1000):
        yield b"".join(lines[start : start + 1000])
    if not options.follow:
        return
    file = path.open("rb")
    try:
        file.seek(position)
        while True:
            if text := b"".join(_wanted(_whole_lines(file), options)):
                yield text
                continue
            if path.stat().st_ino != _inode(file):  # it was rotated, and all of the old one is read
                file.close()
                file = path.open("rb")
                continue
            if over:
                return
            over = ended()
            if not over:
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        file.close()


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def last_words(path: Path) -> str:
    """The end of a log, as the message of a container that failed (FallbackToLogsOnError)."""
    try:
        lines, _ = existing(path, LogOptions(tail=_LAST_LINES))
    except OSError:
        return ""
    return b"".join(lines)[-_LAST_BYTES:].decode(errors="replace")
