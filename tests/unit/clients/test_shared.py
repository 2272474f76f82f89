"""One client for all of an event loop, while anybody uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from include.clients.shared import shared


class Opener:
    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.fails = False

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[int]:
        await asyncio.sleep(0.01)
        if self.fails:
            raise OSError("no such file")
        self.opened += 1
        yield self.opened
        self.closed += 1


async def test_it_is_opened_once_and_closed_after_the_last() -> None:
    opener, release = Opener(), asyncio.Event()

    async def use() -> int:
        async with shared("key", opener) as thing:
            await release.wait()
            return thing

    users = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0.03)
    assert (opener.opened, opener.closed) == (1, 0)
    release.set()
    assert await asyncio.gather(*users) == [1] * 5
    assert opener.closed == 1
    async with shared("key", opener) as again:
        assert again == 2, "afterwards it is opened anew"


async def test_another_key_is_another_thing() -> None:
    opener = Opener()
    async with shared("one", opener) as one, shared("two", opener) as two:
        assert one != two
    assert opener.closed == 2


async def test_who_is_cancelled_while_it_opens_takes_it_from_nobody() -> None:
    opener = Opener()

    async def use() -> int:
        async with shared("key", opener) as thing:
            return thing

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1
    assert opener.closed == 1


async def test_a_failure_is_everybodys_and_not_kept() -> None:
    opener = Opener()
    opener.fails = True
    with pytest.raises(OSError, match="no such file"):
        async with shared("key", opener):
            pass
    opener.fails = False
    async with shared("key", opener) as thing:
        assert thing == 1
