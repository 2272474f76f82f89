"""What every watch reads, and how often: metrics, the slot, the public URL, the traffic Service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from include.bluegreen.state import ServiceState
from include.errors import ClusterError
from include.plan.rules import SourceName
from include.slo.source import Source
from include.watch.baseline import look
from include.watch.config import WatchOutcome
from include.watch.rhythm import Feed
from include.watch.sightings import Sightings
from include.watch.slotstate import SlotReader
from include.watch.window import Window
from include.watch.world import World

log = logging.getLogger(__name__)

LOOK_LIMIT_SECONDS: Final = 10.0


Moved = Callable[[ServiceState | None, float], WatchOutcome | None]
"""How a watch has ended because of what the traffic Service says, at a time; None while it has not."""


def feeds(window: Window, world: World, seen: Sightings) -> Iterator[Feed]:
    """Everything that is read beside each other; none of it waits for another."""
    poll = window.environment.watch.poll_seconds
    for name, source in world.sources.items():
        yield Feed(f"metrics of {name}", poll, _Metrics(window, seen, name, source).read, at_end=True)
    yield Feed("slot", poll, _Slot(window, world, seen).read)
    yield Feed("prober", window.environment.prober.every_seconds, _Prober(window, world, seen).read)


def service_feed(window: Window, world: World, seen: Sightings, moved: Moved) -> Feed:
    """The traffic Service, which tells whether what is watched is what users get."""
    return Feed(
        "traffic Service", window.environment.watch.poll_seconds, _Service(window, world, seen, moved).read
    )


async def look_once(reading: Iterable[Feed], now: float) -> None:
    """One more look through every source and at the logs, whenever the next one is due."""

    async def once(feed: Feed) -> None:
        try:
            # Longer than the limit that a look at metrics has of its own: what it says of the silence is kept.
            async with asyncio.timeout(LOOK_LIMIT_SECONDS + 1):
                await feed.read(now)
        except Exception as error:  # noqa: BLE001 - as anywhere in the window: what is not known is judged as such
            log.warning("%s, at the end: %s: %s", feed.name, type(error).__name__, error)

    await asyncio.gather(*(once(feed) for feed in reading if feed.at_end))


class _Metrics:
    def __init__(self, window: Window, seen: Sightings, name: SourceName, source: Source) -> None:
        self._slot = window.target
        self._seen = seen
        self._name = name
        self._source = source

    async def read(self, at: float) -> None:
        found = await look(self._source, self._slot, at, LOOK_LIMIT_SECONDS)
        self._seen.saw_metrics(self._name, found)


class _Service:
    _said = ""

    def __init__(self, window: Window, world: World, seen: Sightings, moved: Moved) -> None:
        self._name = window.environment.traffic.service
        self._world = world
        self._seen = seen
        self._moved = moved

    async def read(self, at: float) -> None:
        try:
            service = await self._world.cluster.service(self._name)
        except ClusterError as error:
            if str(error) != self._said:
                log.warning("the traffic Service cannot be read: %s", error)
            self._said = str(error)
            return
        self._said = ""
        if outcome := self._moved(service, self._world.now()):
            self._seen.saw_end(outcome)


class _Slot:
    def __init__(self, window: Window, world: World, seen: Sightings) -> None:
        self._seen = seen
        self._reader = SlotReader(world.cluster, window.environment, window.target)

    async def read(self, at: float) -> None:
        self._seen.saw_slot(await self._reader.look(at))


class _Prober:
    def __init__(self, window: Window, world: World, seen: Sightings) -> None:
        self._environment = window.environment
        self._world = world
        self._seen = seen

    async def read(self, at: float) -> None:
        self._seen.saw_probe(await self._world.probe(self._environment, self._world.now))
