"""Expensive things that everything in one event loop shares while anybody uses them: clients, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

T = TypeVar("T")


@dataclass
class _Entry:
    opening: asyncio.Future[Any]
    context: AbstractAsyncContextManager[Any]
    users: int = 0


_OPEN: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Entry]] = WeakKeyDictionary()


@asynccontextmanager
async def shared(key: Hashable, opened: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """What ``opened`` opens, once for each key and event loop; closed when its last user leaves.

    :param key: everything that distinguishes one from another
    """
    entries = _OPEN.setdefault(asyncio.get_running_loop(), {})
    entry = entries.get(key)
    if entry is None:
        context = opened()
        entry = entries[key] = _Entry(asyncio.ensure_future(context.__aenter__()), context)
    entry.users += 1
    try:
        # Whoever is cancelled while it opens must not take it from the others.
        yield cast(T, await asyncio.shield(entry.opening))
    finally:
        entry.users -= 1
        failed = entry.opening.done() and (entry.opening.cancelled() or entry.opening.exception() is not None)
        if (entry.users == 0 or failed) and entries.get(key) is entry:
            del entries[key]
        if entry.users == 0 and not failed:
            await asyncio.shield(entry.opening)
            await entry.context.__aexit__(None, None, None)
