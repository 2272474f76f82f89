"""What a watch works with in a triggerer: only the cluster is needed to begin."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.errors import LedgerUnavailable, MetricsRefused
from include.slo.account import Account
from include.steps.watch import keep_account
from include.watch.config import Progress, WatchConfig
from include.watch.world import World
from stellwerk.triggers import world as worlds
from stellwerk.triggers.world import open_world, with_account
from tests.unit.steps.watching import CUTOVER, begun, cut_over_ledger, release_run


class Surroundings:
    """Connections as the tests need them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger, self.memory = cut_over_ledger(release_run())
        self.config = begun(release_run(), self.ledger)
        self.broken: Exception | None = None

        @asynccontextmanager
        async def cluster(namespace: str) -> AsyncIterator[object]:
            yield SimpleNamespace(namespace=namespace, _transport=None)

        async def aread(conn_id: str) -> Any:
            return SimpleNamespace(cluster=cluster)

        async def refuse(conn_id: str) -> Any:
            raise MetricsRefused("leads to no Prometheus")

        async def aopen_ledger(conn_id: str, timeout_seconds: float) -> Any:
            if self.broken:
                raise self.broken
            return self.ledger

        monkeypatch.setattr(worlds.ClusterHook, "aread", aread)
        monkeypatch.setattr(worlds.PrometheusHook, "aread", refuse)
        monkeypatch.setattr(worlds, "aopen_ledger", aopen_ledger)

    async def open(self, config: WatchConfig | None = None) -> World:
        config = config or self.config
        async with open_world(config, _nobody) as world:
            return await with_account(world, config)


async def _nobody(progress: Progress) -> None:
    pass


def _account(at: float) -> Account:
    account = Account.begin({}, at=CUTOVER.timestamp(), source="openmetrics")
    return replace(account, tally=replace(account.tally, last_at=at, unknown=1))


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    return Surroundings(monkeypatch)


async def test_the_account_is_kept_in_the_ledger_and_found_again(around: Surroundings) -> None:
    world = await around.open()
    assert world.account is None
    assert world.checkpoint is not None
    kept = _account(CUTOVER.timestamp() + 60)
    await world.checkpoint(kept)
    assert (await around.open()).account == kept


async def test_of_two_processes_the_newest_account_counts_whoever_wrote_last(around: Surroundings) -> None:
    newer, older = _account(CUTOVER.timestamp() + 120), _account(CUTOVER.timestamp() + 60)
    for account in (newer, older, older):
        keep_account(around.config, around.ledger, account)
    assert (await around.open()).account == newer
    assert len([entry for entry in around.memory.written if entry.kind == "watch.checkpoint"]) == 2
    other = around.config.model_copy(update={"number": 1})
    assert (await around.open(other)).account is None


async def test_a_ledger_that_is_not_defined_stops_no_watch(around: Surroundings) -> None:
    around.broken = LedgerUnavailable("no such connection")
    world = await around.open()
    assert (world.account, world.checkpoint) == (None, None)


async def test_a_ledger_that_fails_or_hangs_delays_the_watch_by_seconds_at_most(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(*_: object, **__: object) -> None:
        raise LedgerUnavailable("gives no answer")

    monkeypatch.setattr(worlds, "kept_account", out)
    assert (await around.open()).account is None
    monkeypatch.setattr(worlds, "LEDGER_SECONDS", 0.01)
    monkeypatch.setattr(worlds, "kept_account", lambda *_, **__: time.sleep(0.3))
    world = await around.open()
    assert world.account is None
    assert world.checkpoint is not None, "it may be back later"


async def test_a_prometheus_that_cannot_be_opened_is_no_data_and_the_pods_are_still_read(
    around: Surroundings,
) -> None:
    environment = around.config.environment
    connections = environment.connections.model_copy(update={"prometheus": "prometheus"})
    slo = SimpleNamespace(sources=frozenset({"prometheus", "openmetrics"}))
    both = environment.model_copy(update={"connections": connections, "slo": slo})
    config = around.config.model_copy(update={"environment": both})
    sources = (await around.open(cast(WatchConfig, config))).sources
    assert set(sources) == {"prometheus", "openmetrics"}
    for read in (sources["prometheus"].look("green", 1.0), sources["prometheus"].history("green", 0.0, 1.0)):
        with pytest.raises(MetricsRefused, match="leads to no Prometheus"):
            await read
