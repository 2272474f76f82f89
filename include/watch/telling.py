"""Telling others how a watch is doing: beside it, so that whoever listens slowly holds nothing up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from include.slo.account import Account
from include.watch.config import Progress
from include.watch.world import World

log = logging.getLogger(__name__)

T = TypeVar("T")

PROGRESS_SECONDS: Final = 15.0
CHECKPOINT_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 5.0


class Teller:
    """Calls the callbacks of a :class:`World`, one call of a kind at a time, the newest news only."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said = ("", float("-inf"))
        self._kept_at = world.now()

    def progress(self, progress: Progress) -> None:
        """Say it when its state is new, or the last word is 15 s old."""
        state, at = self._said
        if progress.state == state and progress.at - at < PROGRESS_SECONDS:
            return
        self._said = (progress.state, progress.at)
        log.info("%s", progress.line)
        if self._world.progress is not None:
            self._begin("progress", self._world.progress, progress)

    def checkpoint(self, account: Callable[[], Account], at: float) -> None:
        """Have the account kept, about every minute; it is made only then."""
        if self._world.checkpoint is None or at - self._kept_at < CHECKPOINT_SECONDS:
            return
        if self._begin("checkpoint", self._world.checkpoint, account()):
            self._kept_at = at

    async def close(self) -> None:
        """End what is still being told; it had its chance."""
        running = [task for task in self._tasks.values() if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_LAST_SECONDS)

    def _begin(self, name: str, call: Callable[[T], Awaitable[None]], value: T) -> bool:
        if (before := self._tasks.get(name)) is not None and not before.done():
            return False
        self._tasks[name] = asyncio.create_task(_told(name, call, value))
        return True


async def _told(name: str, call: Callable[[T], Awaitable[None]], value: T) -> None:
    try:
        await call(value)
    except Exception as error:  # noqa: BLE001 - whoever is told has no say in the watch
        log.warning("%s could not be told: %s: %s", name, type(error).__name__, error)
