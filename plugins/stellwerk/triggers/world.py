"""What a watch works with in a triggerer: cluster, sources of metrics, and where its account is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from include.clients.kubernetes import Glance
from include.clients.metrics import open_sources
from include.clients.metrics.openmetrics import OpenMetricsSource
from include.errors import LedgerError, MetricsError, StellwerkError
from include.steps.record import WATCH_CHECKPOINT
from include.steps.watch import keep_account, kept_account
from include.watch.collector import settle
from include.watch.world import World
from stellwerk.hooks.kubernetes import ClusterHook
from stellwerk.hooks.ledger import aopen_ledger
from stellwerk.hooks.prometheus import PrometheusHook

if TYPE_CHECKING:
    from include.clients.kubernetes import Cluster
    from include.clients.prometheus import Prometheus
    from include.ledger.store import Ledger
    from include.plan.rules import SourceName
    from include.plan.slots import Slot
    from include.slo.account import Account
    from include.slo.samples import Snapshot
    from include.slo.source import Source
    from include.watch.config import Progress
    from include.watch.window import Watched, Window

log = logging.getLogger(__name__)

#: seconds that a ledger may keep a watch from beginning
LEDGER_SECONDS: Final = 4.0
JUST_BEGUN_SECONDS: Final = 10.0


@asynccontextmanager
async def open_world(config: Watched, progress: Callable[[Progress], Awaitable[None]]) -> AsyncIterator[World]:
    """Open everything the watch reads; closed on leaving. Of all of it only the cluster is needed to begin.

    :raises ClusterError: there is no access to the cluster
    """
    settle()
    async with AsyncExitStack() as stack:
        hook = await ClusterHook.aread(config.connection)
        # Source and watch look at the same pods at the same moments; the switch takes the cluster itself.
        cluster = Glance(await stack.enter_async_context(hook.cluster(config.namespace)))
        sources = await _sources(config, cluster, stack)
        yield World(cluster, sources=sources, progress=progress)


async def with_account(world: World, window: Window, *, kind: str = WATCH_CHECKPOINT) -> World:
    """The world with the account that an earlier process of this watch kept, and with where to keep it.

    :param kind: of the ledger's entries with the account
    """
    keeper = await Keeper.open(window, kind)
    checkpoint = keeper.keep if keeper.ledger is not None else None
    # Nobody has kept one of a window that has just begun, and its first looks do not wait for the ledger.
    just_begun = world.now() - window.began_at < JUST_BEGUN_SECONDS
    return replace(world, account=None if just_begun else await keeper.newest(), checkpoint=checkpoint)


async def _sources(config: Watched, cluster: Cluster, stack: AsyncExitStack) -> dict[SourceName, Source]:
    prometheus: Prometheus | None = None
    named = config.environment.connections.prometheus
    if named is not None and "prometheus" in config.environment.slo.sources:
        try:
            hook = await PrometheusHook.aread(named)
            prometheus = await stack.enter_async_context(hook.client())
        except MetricsError as error:
            # It says so at every poll instead of ending the watch: prober and endpoints still protect users.
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
            return _without_prometheus(config, cluster, error)
    return open_sources(config.environment, cluster, prometheus)


def _without_prometheus(config: Watched, cluster: Cluster, error: MetricsError) -> dict[SourceName, Source]:
    sources: dict[SourceName, Source] = {"prometheus": OutOfReach("prometheus", error)}
    if "openmetrics" in config.environment.slo.sources:
        sources["openmetrics"] = OpenMetricsSource(config.environment, cluster)
    return sources


@dataclass(frozen=True)
class OutOfReach:
    """A source that cannot be opened: no data, with the reason."""

    name: SourceName
    error: MetricsError

    async def look(self, slot: Slot, now: float) -> Snapshot:
        """:raises MetricsError: always"""
        raise self.error

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        """:raises MetricsError: always"""
        raise self.error


@dataclass(frozen=True)
class Keeper:
    """Keeps the watch's account in the ledger: no other store has all of the past. One that is out is logged.

    :param kind: of its entries
    :param ledger: None when the ledger cannot be opened
    """

    window: Window
    kind: str
    ledger: Ledger | None

    @classmethod
    async def open(cls, window: Window, kind: str) -> Keeper:
        """Read the ledger's connection here, in the event loop; its calls then run in threads."""
        try:
            return cls(window, kind, await aopen_ledger(window.environment.connections.ledger, LEDGER_SECONDS))
        except LedgerError as error:
            log.warning("the watch keeps its account in memory only: %s", error)
            return cls(window, kind, None)

    async def newest(self) -> Account | None:
        """The account as an earlier process of this watch kept it; None without one."""
        if self.ledger is None:
            return None
        try:
            async with asyncio.timeout(2 * LEDGER_SECONDS):
                return await asyncio.to_thread(kept_account, self.window, self.ledger, kind=self.kind)
        except (StellwerkError, TimeoutError, ValueError) as error:
            log.warning("the account kept so far cannot be read, it begins anew: %s", error)
            return None

    async def keep(self, account: Account) -> None:
        """Write the account.

        :raises LedgerError: it is not kept this time
        """
        if self.ledger is not None:
            await asyncio.to_thread(keep_account, self.window, self.ledger, account, kind=self.kind)
