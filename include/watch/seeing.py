"""What a watch reads, and how often: metrics, the traffic Service, the slot, the public URL, both slots' logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Final

from include.errors import ClusterError
from include.plan.rules import SourceName
from include.slo.source import Source
from include.watch import reading
from include.watch.back import moved_by_others
from include.watch.baseline import look
from include.watch.config import WatchConfig
from include.watch.reading import LogComparison
from include.watch.rhythm import Feed
from include.watch.sightings import Sightings
from include.watch.slotstate import SlotReader
from include.watch.world import World

log = logging.getLogger(__name__)

LOOK_LIMIT_SECONDS: Final = 10.0
_BESIDE_SECONDS: Final = 5.0
_BESIDE_SELDOM_SECONDS: Final = 60.0


def feeds(config: WatchConfig, world: World, seen: Sightings) -> Iterator[Feed]:
    """Everything that is read beside each other; none of it waits for another."""
    poll, criteria = config.environment.watch.poll_seconds, config.environment.slo.criteria
    for name, source in world.sources.items():
        yield Feed(f"metrics of {name}", poll, _Metrics(config, world, seen, name, source).read, at_end=True)
    yield Feed("traffic Service", poll, _Service(config, world, seen).read)
    yield Feed("slot", poll, _Slot(config, world, seen).read)
    yield Feed("prober", config.environment.prober.every_seconds, _Prober(config, world, seen).read)
    if config.environment.slo.source in world.sources:
        streams = criteria.sse_connections or criteria.sse_reconnect_ratio
        every = max(poll, _BESIDE_SECONDS if streams else _BESIDE_SELDOM_SECONDS)
        yield Feed("slot that was left", every, _Beside(config, world, seen).read, needed=False)
    if criteria.logs:
        every = min(max(3 * poll, reading.EVERY_SECONDS), reading.SELDOM_SECONDS)
        yield Feed("logs", every, _Logs(config, world, seen).read, needed=False, at_end=True)


async def look_once(reading: Iterable[Feed], now: float) -> None:
    """One more look through every source and at the logs, whenever the next one is due."""

    async def once(feed: Feed) -> None:
        try:
            async with asyncio.timeout(LOOK_LIMIT_SECONDS):
                await feed.read(now)
        except Exception as error:  # noqa: BLE001 - as anywhere in the window: what is not known is judged as such
            log.warning("%s, at the end: %s: %s", feed.name, type(error).__name__, error)

    await asyncio.gather(*(once(feed) for feed in reading if feed.at_end))


class _Reader:
    def __init__(self, config: WatchConfig, world: World, seen: Sightings) -> None:
        self.config = config
        self.world = world
        self.seen = seen


class _Metrics(_Reader):
    def __init__(
        self, config: WatchConfig, world: World, seen: Sightings, name: SourceName, source: Source
    ) -> None:
        super().__init__(config, world, seen)
        self.name = name
        self.source = source

    async def read(self, at: float) -> None:
        found = await look(self.source, self.config.target, at, LOOK_LIMIT_SECONDS)
        self.seen.saw_metrics(self.name, found)


class _Service(_Reader):
    said = ""

    async def read(self, at: float) -> None:
        try:
            service = await self.world.cluster.service(self.config.environment.traffic.service)
        except ClusterError as error:
            if str(error) != self.said:
                log.warning("the traffic Service cannot be read: %s", error)
            self.said = str(error)
            return
        self.said = ""
        if outcome := moved_by_others(self.config, service, now=self.world.now()):
            self.seen.saw_end(outcome)


class _Slot(_Reader):
    def __init__(self, config: WatchConfig, world: World, seen: Sightings) -> None:
        super().__init__(config, world, seen)
        self.reader = SlotReader(world.cluster, config.environment, config.target)

    async def read(self, at: float) -> None:
        self.seen.saw_slot(await self.reader.look(at))


class _Prober(_Reader):
    async def read(self, at: float) -> None:
        self.seen.saw_probe(await self.world.probe(self.config.environment, self.world.now))


class _Beside(_Reader):
    async def read(self, at: float) -> None:
        source = self.world.sources[self.config.environment.slo.source]
        self.seen.beside = await look(source, self.config.source, at, LOOK_LIMIT_SECONDS)


class _Logs(_Reader):
    def __init__(self, config: WatchConfig, world: World, seen: Sightings) -> None:
        super().__init__(config, world, seen)
        self.comparison = LogComparison(
            world.cluster,
            config.environment,
            watched=config.target,
            left=config.source,
            since=config.cutover_at,
        )

    async def read(self, at: float) -> None:
        self.seen.logs = await self.comparison.look(at)
