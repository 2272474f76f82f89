"""What a watch works with in a triggerer: cluster, sources of metrics, and where its account is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from include.watch.world import World
from stellwerk.hooks.kubernetes import ClusterHook

if TYPE_CHECKING:
    from include.watch.config import Progress, WatchConfig


@asynccontextmanager
async def open_world(config: WatchConfig, progress: Callable[[Progress], Awaitable[None]]) -> AsyncIterator[World]:
    """Open everything the watch reads; closed on leaving."""
    hook = await ClusterHook.aread(config.connection)
    async with hook.cluster(config.namespace) as cluster:
        yield World(cluster, progress=progress)
