"""Going forward waits for the Lease, switching back does not, the last task gives it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.lease import LeaseState
from include.bluegreen.slots import Slot
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import ClusterUnreachable, EnvironmentHeld, LeaseLost, PatchRefused
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.lease import (
    ATTEMPTS,
    give_up,
    hold,
    holding,
    look,
    overridden,
    override_claim,
    release_lease,
    renewed_beside,
    renewing,
)
from include.steps.record import LEASE_TAKEN_OVER, RELEASED, holder_ended, record
from include.steps.run import ReleaseRun, open_run
from tests.memory import MemoryLedger
from tests.unit.bluegreen.lease_server import LeaseServer
from tests.unit.bluegreen.model import service


class FakeCluster:
    """A Lease, a Service, and an API that may be out."""

    def __init__(self) -> None:
        self.server = LeaseServer()
        self.traffic: ServiceState | None = service("blue", held_by=None)
        self.out = False
        self.meanwhile: Callable[[], object] | None = None
        self.writes = 0

    async def lease(self, _: str) -> LeaseState | None:
        self._answer()
        seen = self.server.lease
        if self.meanwhile:
            self.meanwhile()
        return seen

    async def create_lease(self, lease: LeaseState) -> LeaseState:
        self._answer()
        self.writes += 1
        return self.server.create(lease)

    async def replace_lease(self, lease: LeaseState) -> LeaseState:
        self._answer()
        self.writes += 1
        return self.server.replace(lease)

    async def delete_lease(self, lease: LeaseState) -> None:
        self._answer()
        self.server.delete(lease)

    async def service(self, _: str) -> ServiceState | None:
        return self.traffic

    def _answer(self) -> None:
        if self.out:
            raise ClusterUnreachable("no answer")


class World:
    def __init__(self) -> None:
        self.fake = FakeCluster()
        self.cluster = cast("Cluster", self.fake)
        self.book = MemoryLedger()
        self.ledger = cast("Ledger", self.book)

    def run(self, run_id: str = "r1", override_reason: str = "") -> ReleaseRun:
        return open_run(
            load_plan(plan_folder()),
            release="3.0.0",
            environment="production",
            phase="production-blue-green",
            run_id=run_id,
            triggered_by="ada",
            override_reason=override_reason,
        )

    @property
    def lease(self) -> LeaseState:
        assert self.fake.server.lease is not None
        return self.fake.server.lease

    def age(self, seconds: float) -> None:
        self.fake.server.lease = replace(self.lease, renewed_at=datetime.now(UTC) - timedelta(seconds=seconds))

    def switched(self, run: ReleaseRun, to: Slot, direction: Literal["forward", "back"]) -> None:
        switch = LastSwitch(to, "x", "y", datetime.now(UTC), run.release_id, direction)
        marks = {RELEASE_ID: run.release_id, LAST_SWITCH: switch.encode()}
        self.fake.traffic = replace(service(to), annotations=marks)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_second_release_is_refused_before_anything_else(world: World) -> None:
    await look(world.run(), world.cluster)
    await hold(world.run(), world.cluster, world.ledger, take_over=True)
    await look(world.run(), world.cluster)
    with pytest.raises(EnvironmentHeld, match="run r1, started by ada"):
        await look(world.run("r2"), world.cluster)
    await look(world.run("r2", "hotfix"), world.cluster)
    assert world.fake.writes == 1, "looking writes nothing"


async def test_blanks_are_no_reason(world: World) -> None:
    await hold(world.run(), world.cluster, world.ledger, take_over=True)
    with pytest.raises(EnvironmentHeld):
        await hold(world.run("r2", "  \n"), world.cluster, world.ledger, take_over=True)


async def test_only_the_beginning_of_a_run_takes_over_what_has_expired(world: World) -> None:
    await hold(world.run(), world.cluster, world.ledger, take_over=True)
    world.age(1e6)
    with pytest.raises(EnvironmentHeld, match="expires"):
        await hold(world.run("r2"), world.cluster, world.ledger)
    await hold(world.run("r2"), world.cluster, world.ledger, take_over=True)
    assert world.lease.holder == world.run("r2").release_id
    with pytest.raises(LeaseLost, match=r"taken over by release 3\.0\.0, run r2"):
        await hold(world.run(), world.cluster, world.ledger, take_over=True)


async def test_an_expired_lease_that_nobody_took_is_still_the_holders(world: World) -> None:
    await hold(world.run(), world.cluster, world.ledger)
    world.age(1e6)
    assert not (await hold(world.run(), world.cluster, world.ledger)).expired(datetime.now(UTC))


async def test_a_kill_between_the_takeover_and_its_record_is_made_up_for(world: World) -> None:
    await hold(world.run(), world.cluster, world.ledger)
    hotfix = world.run("r2", "hotfix")
    await hold(hotfix, world.cluster, world.ledger, take_over=True)
    world.book.written = [entry for entry in world.book.written if entry.kind != LEASE_TAKEN_OVER]
    await hold(hotfix, world.cluster, world.ledger)
    assert [entry.kind for entry in world.book.written].count(LEASE_TAKEN_OVER) == 1
    assert overridden(hotfix, world.ledger, world.run().release_id)


async def test_without_a_ledger_nothing_is_taken_over(world: World) -> None:
    await hold(world.run(), world.cluster, world.ledger)

    def refuse(_: Any) -> Any:
        raise RuntimeError("the ledger is out")

    world.book.append = refuse  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await hold(world.run("r2", "hotfix"), world.cluster, world.ledger, take_over=True)
    assert world.lease.holder == world.run().release_id


async def test_a_lease_that_never_holds_still(world: World) -> None:
    world.fake.meanwhile = lambda: setattr(world.fake.server, "lease", None)
    world.fake.server.create(LeaseState("x", None, None, None, None))
    recreate = world.fake.server.lease

    def flicker() -> None:
        world.fake.server.lease = None if world.fake.server.lease else recreate

    world.fake.meanwhile = flicker
    with pytest.raises(PatchRefused):
        await hold(world.run(), world.cluster, world.ledger)
    assert world.fake.writes == ATTEMPTS


async def test_a_step_is_renewed_and_ends_as_it_ends(world: World) -> None:
    run = world.run()
    lease = await hold(run, world.cluster, world.ledger)
    async with renewing(lease, run.lease_terms, world.cluster, every_seconds=0.01):
        await asyncio.sleep(0.1)
    assert world.lease.renewed_at != lease.renewed_at
    writes = world.fake.writes
    await asyncio.sleep(0.05)
    assert world.fake.writes == writes, "nobody renews after the step"
    with pytest.raises(ZeroDivisionError):
        async with holding(run, world.cluster, world.ledger):
            raise ZeroDivisionError


async def stopped(world: World, what: Callable[[], object]) -> None:
    run = world.run()
    lease = await hold(run, world.cluster, world.ledger)
    async with renewing(lease, run.lease_terms, world.cluster, every_seconds=0.01):
        what()
        await asyncio.sleep(5)
        pytest.fail("the step went on")


async def test_a_step_is_stopped_when_the_lease_is_another_ones_or_gone(world: World) -> None:
    other = LeaseState("x", "3.0.9@production/r9", None, None, None, uid="u", resource_version="9")
    with pytest.raises(LeaseLost, match="run r9"):
        await stopped(world, lambda: setattr(world.fake.server, "lease", other))
    world.fake.server.lease = None
    with pytest.raises(LeaseLost, match="deleted"):
        await stopped(world, lambda: setattr(world.fake.server, "lease", None))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_api_that_is_out_stops_a_step_only_when_the_lease_has_expired(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.run()
    lease = await hold(run, world.cluster, world.ledger)
    world.fake.out = True
    async with renewing(lease, run.lease_terms, world.cluster, every_seconds=0.01):
        await asyncio.sleep(0.1)
    old = replace(lease, renewed_at=datetime.now(UTC) - timedelta(days=1))

    async def step() -> None:
        async with renewing(old, run.lease_terms, world.cluster, every_seconds=0.01):
            await asyncio.sleep(5)
            pytest.fail("the step went on")

    with pytest.raises(LeaseLost):
        await step()


async def test_a_cancelled_step_is_cancelled_and_not_lost(world: World) -> None:
    async def step() -> None:
        async with holding(world.run(), world.cluster, world.ledger):
            await asyncio.sleep(5)

    task = asyncio.create_task(step())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_watch_goes_on_whatever_becomes_of_the_lease(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    run = world.run()
    await hold(run, world.cluster, world.ledger)
    other = LeaseState("x", "3.0.9@production/r9", None, None, None, uid="u", resource_version="9")
    async with renewed_beside(run.lease_terms, world.cluster, every_seconds=0.01):
        world.fake.server.lease = None
        await asyncio.sleep(0.05)
        assert world.lease.holder == run.release_id, "taken again while the environment is free"
        world.fake.server.lease = other
        await asyncio.sleep(0.05)
        assert world.lease == other, "nothing is taken from anybody"
        world.fake.out = True
        await asyncio.sleep(0.05)
    told = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    assert len(told) == 2, told
    assert "the watch goes on all the same" in told[0]
    assert "could not be renewed" in told[1]


async def test_it_is_given_up_when_nothing_was_moved(world: World) -> None:
    run = world.run()
    await hold(run, world.cluster, world.ledger)
    assert (await release_lease(run, world.cluster, world.ledger))["released"]
    assert world.fake.server.lease is None
    assert not (await release_lease(run, world.cluster, world.ledger))["released"]


@pytest.mark.parametrize(
    ("to", "direction", "released", "free"),
    [
        ("green", "forward", False, False),
        ("green", "forward", True, True),
        ("blue", "back", False, True),
    ],
)
async def test_it_is_kept_while_the_traffic_is_on_what_nobody_has_proven(
    world: World, to: Slot, direction: Literal["forward", "back"], *, released: bool, free: bool
) -> None:
    run = world.run()
    await hold(run, world.cluster, world.ledger)
    world.switched(run, to, direction)
    if released:
        record(world.ledger, run, RELEASED, {})
    told = await release_lease(run, world.cluster, world.ledger)
    assert told["released"] is free
    assert (world.fake.server.lease is None) is free
    assert world.fake.traffic is not None
    assert holder_ended(world.fake.traffic, world.ledger) is free, "Lease and Service agree on who is in the way"
    if not free:
        assert "Clear `watch`" in told["reason"]


async def test_moved_back_by_hand_has_ended_too(world: World) -> None:
    run = world.run()
    await hold(run, world.cluster, world.ledger)
    world.switched(run, "green", "forward")
    assert world.fake.traffic is not None
    world.fake.traffic = replace(world.fake.traffic, selector=service("blue").selector)
    assert (await release_lease(run, world.cluster, world.ledger))["released"]


async def test_a_service_that_is_gone_or_another_ones(world: World) -> None:
    run = world.run()
    await hold(run, world.cluster, world.ledger)
    world.fake.traffic = None
    assert not (await release_lease(run, world.cluster, world.ledger))["released"]
    world.fake.traffic = service("blue", held_by="3.0.9@production/r9")
    assert (await release_lease(run, world.cluster, world.ledger))["released"]


async def test_what_another_release_holds_is_not_given_up(world: World) -> None:
    await hold(world.run("r2"), world.cluster, world.ledger)
    await give_up(world.cluster, world.lease.name, world.run().release_id)
    told = await release_lease(world.run(), world.cluster, world.ledger)
    assert not told["released"]
    assert "run r2" in told["reason"]


async def test_an_override_of_the_service_alone_is_recorded(world: World) -> None:
    hotfix, holder = world.run("r2", "hotfix"), world.run().release_id
    assert not overridden(hotfix, world.ledger, holder)
    override_claim(hotfix, world.ledger, holder)
    assert overridden(hotfix, world.ledger, holder)
    assert not overridden(hotfix, world.ledger, "another")
    assert not overridden(world.run("r3"), world.ledger, holder)
