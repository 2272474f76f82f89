"""A Lease on a real API server: one winner, no stale write, no write that brings a deleted one back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from include.bluegreen.lease import STARTED_BY, Terms, acquired, renewed
from include.clients.kubernetes import Cluster, requests
from include.errors import ClusterRefused, EnvironmentHeld, LeaseLost, PatchRefused
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.steps.lease import give_up, hold, renewing
from include.steps.record import LEASE_TAKEN_OVER
from include.steps.run import ReleaseRun, open_run
from tests.contract.support import Kubectl
from tests.memory import MemoryLedger


def a_run(number: int, *, override_reason: str = "") -> ReleaseRun:
    return open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id=f"manual__2030-01-01T12:00:00.000000+00:00_{number}",
        triggered_by="release-manager",
        override_reason=override_reason,
    )


NAME = a_run(0).lease_terms.name


@pytest.fixture
async def client(kubectl: Kubectl) -> AsyncIterator[Cluster]:
    """The client, and no Lease."""
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as cluster:
        if lease := await cluster.lease(NAME):
            await cluster.delete_lease(lease)
        yield cluster


def ledger() -> Ledger:
    return cast("Ledger", MemoryLedger())


def kinds(of: Ledger) -> list[str]:
    return [entry.kind for entry in cast("MemoryLedger", of).written]


def terms(holder: str) -> Terms:
    return Terms(NAME, holder, "somebody", 60)


async def aged(client: Cluster, seconds: float) -> None:
    """Let the Lease have been renewed so long ago."""
    lease = await client.lease(NAME)
    assert lease is not None
    await client.replace_lease(replace(lease, renewed_at=datetime.now(UTC) - timedelta(seconds=seconds)))


async def test_what_is_written_is_read_back(client: Cluster) -> None:
    assert await client.lease(NAME) is None
    now = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    # Airflow's run ids have at most 250 characters, of any kind.
    holder = f"3.0.0-rc.1@production/{'manual__2030-01-01T12:00:00+00:00 ä' * 8}"[:280]
    written = await client.create_lease(acquired(None, terms(holder), now))
    found = await client.lease(NAME)
    assert found == written
    assert (found.holder, found.acquired_at, found.renewed_at) == (holder, now, now)
    assert (found.duration_seconds, found.transitions) == (60, 0)
    assert found.annotations[STARTED_BY] == "somebody"
    assert found.uid


async def test_the_server_refuses_what_is_stale(client: Cluster) -> None:
    now = datetime.now(UTC)
    first = await client.create_lease(acquired(None, terms("a"), now))
    with pytest.raises(PatchRefused):
        await client.create_lease(acquired(None, terms("b"), now))
    # A write that changes nothing makes no new version, and is no stale one afterwards.
    second = await client.replace_lease(renewed(first, terms("a"), now + timedelta(seconds=1)))
    with pytest.raises(PatchRefused):
        await client.replace_lease(renewed(first, terms("a"), now + timedelta(seconds=2)))
    with pytest.raises(PatchRefused):
        await client.delete_lease(first)
    assert await client.lease(NAME) == second
    await client.delete_lease(second)
    await client.delete_lease(second)
    assert await client.lease(NAME) is None


async def test_a_deleted_lease_does_not_come_back(client: Cluster) -> None:
    now = datetime.now(UTC)
    first = await client.create_lease(acquired(None, terms("a"), now))
    await client.delete_lease(first)
    with pytest.raises(PatchRefused):
        await client.replace_lease(renewed(first, terms("a"), now))
    assert await client.lease(NAME) is None
    other = await client.create_lease(acquired(None, terms("b"), now))
    with pytest.raises(PatchRefused):
        await client.replace_lease(renewed(first, terms("a"), now))
    with pytest.raises(PatchRefused):
        await client.delete_lease(first)
    assert await client.lease(NAME) == other


async def test_why_the_uid_is_in_every_write(client: Cluster) -> None:
    """Without it the API server makes a deleted Lease anew, held by whoever was asleep."""
    first = await client.create_lease(acquired(None, terms("a"), datetime.now(UTC)))
    await client.delete_lease(first)
    item = requests.lease(first)
    del item["metadata"]["uid"]
    request = requests.replace("leases", client.namespace, NAME, item)
    status, _ = await client._transport.answer(request)
    assert status == 201
    assert (await client.lease(NAME) or first).uid != first.uid


async def test_a_time_without_its_fraction_is_refused(client: Cluster) -> None:
    item = requests.lease(acquired(None, terms("a"), datetime.now(UTC)))
    item["spec"]["renewTime"] = "2030-01-01T12:00:00Z"
    with pytest.raises(ClusterRefused) as caught:
        await client._transport.json(requests.create("leases", client.namespace, item))
    assert caught.value.status == 400


async def test_of_eight_that_start_at_once_one_gets_through(kubectl: Kubectl, client: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace))
            for _ in range(8)
        ]
        runs = [a_run(number) for number in range(8)]
        results = await asyncio.gather(
            *(hold(run, one, ledger(), take_over=True) for run, one in zip(runs, clients, strict=True)),
            return_exceptions=True,
        )
    names = sorted(type(one).__name__ for one in results)
    assert names == ["EnvironmentHeld"] * 7 + ["LeaseState"], results
    lease = await client.lease(NAME)
    assert lease is not None
    (winner,) = [run for run in runs if run.release_id == lease.holder]
    (refusal, *_) = [one for one in results if isinstance(one, EnvironmentHeld)]
    assert winner.run_id in refusal.what
    assert "started by release-manager" in refusal.what


async def test_eight_that_take_over_what_has_expired(kubectl: Kubectl, client: Cluster) -> None:
    await hold(a_run(9), client, ledger(), take_over=True)
    await aged(client, 1e6)
    books = [ledger() for _ in range(8)]
    results = await asyncio.gather(
        *(hold(a_run(number), client, books[number], take_over=True) for number in range(8)),
        return_exceptions=True,
    )
    winners = [index for index, one in enumerate(results) if not isinstance(one, BaseException)]
    assert len(winners) == 1, results
    for number, book in enumerate(books):
        assert (LEASE_TAKEN_OVER in kinds(book)) == (number in winners)
    (entry,) = [one for one in cast("MemoryLedger", books[winners[0]]).written if one.kind == LEASE_TAKEN_OVER]
    assert entry.payload["from"] == a_run(9).release_id
    assert "not renewed in time" in entry.payload["reason"]
    lease = await client.lease(NAME)
    assert lease is not None
    assert lease.transitions == 1


async def test_an_override_is_recorded_and_the_one_it_was_taken_from_goes_no_further(client: Cluster) -> None:
    book, first, hotfix = ledger(), a_run(1), a_run(2, override_reason="customers cannot order")
    await hold(first, client, book, take_over=True)
    with pytest.raises(EnvironmentHeld):
        await hold(replace(hotfix, override_reason=""), client, book, take_over=True)
    with pytest.raises(EnvironmentHeld):
        await hold(hotfix, client, book)
    await hold(hotfix, client, book, take_over=True)
    await hold(hotfix, client, book)
    assert kinds(book) == ["lease.takeover-intended", LEASE_TAKEN_OVER]
    with pytest.raises(LeaseLost, match="customers cannot order"):
        await hold(first, client, book)
    await give_up(client, NAME, first.release_id)
    assert await client.lease(NAME) is not None, "what another release holds stays"
    await give_up(client, NAME, hotfix.release_id)
    assert await client.lease(NAME) is None
    with pytest.raises(LeaseLost):
        await hold(first, client, book)


async def test_a_step_whose_environment_is_taken_over_is_stopped(client: Cluster) -> None:
    book, first = ledger(), a_run(1)
    lease = await hold(first, client, book, take_over=True)

    async def step() -> None:
        async with renewing(lease, first.lease_terms, client, every_seconds=0.1):
            await asyncio.sleep(0.5)
            after = await client.lease(NAME)
            assert after is not None
            assert after.renewed_at != lease.renewed_at, "renewed while the step runs"
            await hold(a_run(2, override_reason="hotfix"), client, book, take_over=True)
            await asyncio.sleep(10)
            pytest.fail("the step went on")

    with pytest.raises(LeaseLost, match="run manual__2030"):
        await step()


async def test_people_can_read_it(client: Cluster, kubectl: Kubectl) -> None:
    await hold(a_run(1), client, ledger(), take_over=True)
    assert a_run(1).release_id in kubectl("get", "lease", NAME)
    managers = json.loads(kubectl("get", "lease", NAME, "-o", "json", "--show-managed-fields"))
    assert managers["metadata"]["managedFields"][0]["manager"] == requests.FIELD_MANAGER
