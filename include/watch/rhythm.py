"""When something is due that is done again and again: on grids of their own, so that many don't act at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

LONGEST_START_SECONDS: Final = 5.0


def phase(key: str) -> float:
    """Where on the grid somebody has its place: a share of the interval, evenly spread over all keys."""
    return zlib.crc32(key.encode()) / 2**32


def next_due(now: float, every_seconds: float, share: float) -> float:
    """The next point of the grid after ``now``; what was missed is not made up for.

    :param now: seconds since the epoch
    :param share: of :func:`phase`
    """
    offset = share * every_seconds
    due = (math.floor((now - offset) / every_seconds) + 1) * every_seconds + offset
    return due if due > now else due + every_seconds


@dataclass
class Feed:
    """Something that is read at a cadence of its own.

    :param read: given the time (seconds since the epoch); an exception of it is logged and it is tried again
    :param needed: whether a verdict is worth nothing without it
    :param at_end: whether it is read once more when the window ends
    :param read_at: when the newest read that has ended began; of no time before the first
    """

    name: str
    every_seconds: float
    read: Callable[[float], Awaitable[None]]
    needed: bool = True
    at_end: bool = False
    read_at: float = -math.inf


@asynccontextmanager
async def feeding(
    feeds: Iterable[Feed], *, key: str, now: Callable[[], float], first_seconds: float = 0.0
) -> AsyncIterator[None]:
    """Read all feeds while in this context, each first at once and then on its grid.

    :param key: what spreads the grids of many watches
    :param now: the clock
    :param first_seconds: how long the context may wait for every feed's first look
    """
    tasks, firsts, share = [], [], phase(key)
    for feed in feeds:
        firsts.append(first := asyncio.Event())
        tasks.append(asyncio.create_task(_feed(feed, share, now, first), name=feed.name))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(first_seconds):
                for first in firsts:
                    await first.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _feed(feed: Feed, share: float, now: Callable[[], float], first: asyncio.Event) -> None:
    said = ""
    while True:
        at = now()
        try:
            await feed.read(at)
            said = ""
        except Exception as error:  # noqa: BLE001 - a defect of one feed must not end the watch
            sentence = f"{feed.name}: {type(error).__name__}: {error}"
            if sentence != said:
                log.warning("%s", sentence)
            said = sentence
        feed.read_at = at
        first.set()
        at = now()
        await asyncio.sleep(max(0.0, next_due(at, feed.every_seconds, share) - at))
