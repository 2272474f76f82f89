"""The traffic moves once, by whoever holds the Service, and everybody else finds out (invariant 1)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import Patch, switch_patch
from include.clients.kubernetes import Cluster
from include.clients.traffic import SwitchResult, claim, point_preview, switch
from include.errors import (
    ClusterUnreachable,
    NotEnoughEndpoints,
    PatchRefused,
    ReleaseFenced,
    UnknownSelector,
)
from include.plan.models import Traffic
from tests.contract.conftest import NodeUrl
from tests.contract.support import Kubectl, container, deployment, fetch, http_probe, load, service

TRAFFIC = Traffic(
    service="erp",
    preview_service="erp-preview",
    selector={"app": "erp"},
    slot_label="version",
    public_url="http://erp.example",
    preview_url="http://preview.example",
)


@pytest.fixture
def services(kubectl: Kubectl) -> None:
    """Traffic on blue, held by nobody; as new for every test."""
    wanted: dict[str, Slot] = {TRAFFIC.service: "blue", TRAFFIC.preview_service: "green"}
    for name, slot in wanted.items():
        kubectl("delete", "service", name, "--ignore-not-found")
        kubectl.apply(service(name, TRAFFIC.selector_for(slot)))


@asynccontextmanager
async def connected(kubectl: Kubectl, *, meanwhile: Meanwhile | None = None) -> AsyncIterator[Interrupted]:
    """A client with connections of its own."""
    async with Interrupted.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as client:
        assert isinstance(client, Interrupted)
        client.meanwhile = meanwhile
        yield client


Meanwhile = Callable[[], Awaitable[None]]


class Interrupted(Cluster):
    """A client to whom something happens, once, between looking and patching, or after it."""

    meanwhile: Meanwhile | None = None
    lose_answer = False

    async def patch_service(self, name: str, patch: Patch) -> ServiceState:  # type: ignore[override]
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        patched = await super().patch_service(name, patch)
        if self.lose_answer:
            self.lose_answer = False
            raise ClusterUnreachable("the connection broke before the answer came")
        return patched


def go(
    client: Cluster, target: Slot = "green", *, release: str = "r1", back: bool = False
) -> Awaitable[SwitchResult]:
    """One switch, now."""
    now = datetime.now(UTC)
    return switch(
        client, TRAFFIC, target=target, release_id=release, by="test", reason="a test", now=now, back=back
    )


def by_hand(kubectl: Kubectl, slot: str, **more: str) -> Meanwhile:
    """What an operator does with kubectl."""

    async def patch() -> None:
        change = json.dumps({"spec": {"selector": {"version": slot, **more}}})
        arguments = ("patch", "service", TRAFFIC.service, "--type", "merge", "-p", change)
        await asyncio.to_thread(kubectl, *arguments)

    return patch


def selector(kubectl: Kubectl) -> dict[str, str]:
    found: dict[str, str] = kubectl.get("service", TRAFFIC.service)["spec"]["selector"]
    return found


async def test_what_the_last_switch_says_never_blocks_the_next_one(services: None, kubectl: Kubectl) -> None:
    reason = 'P95 > 2 s & Fehler: 12.7–22.7 %, <b>"ü"</b>\\ 🚂'  # noqa: RUF001 - the dash is the point
    async with connected(kubectl) as client:
        for number, target in enumerate(("green", "blue", "green")):
            await claim(client, TRAFFIC, f"r{number}")
            done = await switch(
                client,
                TRAFFIC,
                target="blue" if target == "blue" else "green",
                release_id=f"r{number}",
                by="test",
                reason=reason,
                now=datetime.now(UTC),
            )
            recorded = last_switch(done.service)
            assert done.changed
            assert recorded is not None
            assert recorded.reason == reason


async def test_eight_at_once_by_two_releases_move_it_once(services: None, kubectl: Kubectl) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(kubectl)) for _ in range(8)]
        await claim(clients[0], TRAFFIC, "r1")
        await asyncio.gather(*(client.service(TRAFFIC.service) for client in clients))
        moves = [go(client, release=f"r{1 + n % 2}") for n, client in enumerate(clients)]
        results = await asyncio.gather(*moves, return_exceptions=True)
    kinds = Counter(
        ("won" if one.changed else "there") if isinstance(one, SwitchResult) else type(one).__name__
        for one in results
    )
    assert kinds == {"won": 1, "there": 3, "ReleaseFenced": 4}, results
    assert selector(kubectl) == TRAFFIC.selector_for("green")


async def test_eight_releases_claim_it_at_once(services: None, kubectl: Kubectl) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(kubectl)) for _ in range(8)]
        observed = await clients[0].service(TRAFFIC.service)
        claims = [claim(client, TRAFFIC, f"r{n}", observed=observed) for n, client in enumerate(clients)]
        results = await asyncio.gather(*claims, return_exceptions=True)
        (won,) = [one for one in results if isinstance(one, ServiceState)]
        assert sum(isinstance(one, ReleaseFenced) for one in results) == 7, results
        winner = release_id(won)
        held = await clients[0].service(TRAFFIC.service)
        assert held is not None
        assert release_id(held) == winner
        moves = [go(client, release=f"r{n}") for n, client in enumerate(clients)]
        moved = await asyncio.gather(*moves, return_exceptions=True)
    assert [n for n, one in enumerate(moved) if isinstance(one, SwitchResult)] == [int(winner[1:])]  # type: ignore[index]


async def test_a_stalled_release_that_wakes_after_another_claimed_the_service_is_fenced(
    services: None, kubectl: Kubectl
) -> None:
    async with connected(kubectl) as other:

        async def other_release_takes_over() -> None:
            await claim(other, TRAFFIC, "r2")

        async with connected(kubectl, meanwhile=other_release_takes_over) as stalled:
            await claim(other, TRAFFIC, "r1")
            with pytest.raises(ReleaseFenced, match="r2"):
                await go(stalled)
            assert selector(kubectl) == TRAFFIC.selector_for("blue")
            assert (await go(other, release="r2")).changed
            with pytest.raises(ReleaseFenced, match="r2"):
                await go(stalled, "blue", back=True)
    assert selector(kubectl) == TRAFFIC.selector_for("green")


async def test_a_patch_that_arrives_late_finds_another_world(services: None, kubectl: Kubectl) -> None:
    """Sent before there and back again: selector and release id are as they were, and yet it is refused."""
    async with connected(kubectl) as client:
        before = await claim(client, TRAFFIC, "r1")
        late = switch_patch(
            before,
            selector=TRAFFIC.selector_for("green"),
            to="green",
            release_id="r1",
            by="late",
            reason="its packet took its time",
            now=datetime.now(UTC),
        )
        await go(client)
        await by_hand(kubectl, "blue")()
        with pytest.raises(PatchRefused):
            await client.patch_service(TRAFFIC.service, late)
        with pytest.raises(ReleaseFenced, match="cut over once"):
            await go(client)
    assert selector(kubectl) == TRAFFIC.selector_for("blue")


async def test_a_patch_by_hand_in_between_is_noticed(services: None, kubectl: Kubectl) -> None:
    async with connected(kubectl, meanwhile=by_hand(kubectl, "green")) as client:
        await claim_without_interruption(client)
        result = await go(client)
    assert not result.changed, "somebody else moved it"
    assert "changed between looking and switching" in result.noticed[0]


async def test_a_selector_made_unusable_by_hand_in_between_is_refused(services: None, kubectl: Kubectl) -> None:
    async with connected(kubectl, meanwhile=by_hand(kubectl, "blue", debug="yes")) as client:
        await claim_without_interruption(client)
        with pytest.raises(UnknownSelector, match="debug=yes"):
            await go(client)
    assert selector(kubectl) == {**TRAFFIC.selector_for("blue"), "debug": "yes"}


async def test_an_unrelated_change_in_between_does_not_stop_it(services: None, kubectl: Kubectl) -> None:
    async def label() -> None:
        await asyncio.to_thread(kubectl, "label", "service", TRAFFIC.service, "team=sales")
        await asyncio.to_thread(kubectl, "annotate", "service", TRAFFIC.service, "note=hello")

    async with connected(kubectl, meanwhile=label) as client:
        await claim_without_interruption(client)
        result = await go(client)
    assert result.changed
    assert result.noticed == ()
    found = kubectl.get("service", TRAFFIC.service)["metadata"]
    assert found["labels"]["team"] == "sales"
    assert found["annotations"]["note"] == "hello"


async def test_an_answer_that_got_lost_is_found_by_reading_back(services: None, kubectl: Kubectl) -> None:
    async with connected(kubectl) as client:
        await claim(client, TRAFFIC, "r1")
        client.lose_answer = True
        result = await go(client)
    assert result.changed
    assert active_slot(result.service, TRAFFIC) == "green"
    recorded = last_switch(result.service)
    assert recorded is not None
    assert recorded.at == result.at


async def test_the_preview_follows_whatever_it_selected(services: None, kubectl: Kubectl) -> None:
    async with connected(kubectl) as client:
        assert dict((await point_preview(client, TRAFFIC, "blue")).selector) == TRAFFIC.selector_for("blue")
        name = TRAFFIC.preview_service
        kubectl("patch", "service", name, "--type", "json", "-p", '[{"op": "remove", "path": "/spec/selector"}]')
        assert dict((await point_preview(client, TRAFFIC, "green")).selector) == TRAFFIC.selector_for("green")
    assert selector(kubectl) == TRAFFIC.selector_for("blue"), "users are not affected"


async def test_there_and_back_under_load_loses_nothing(
    services: None, kubectl: Kubectl, node_url: NodeUrl
) -> None:
    for slot in ("blue", "green"):
        one = deployment(f"erp-{slot}", container(readinessProbe=http_probe("/readyz"), env={"VERSION": slot}))
        for labels in (one["spec"]["selector"]["matchLabels"], one["spec"]["template"]["metadata"]["labels"]):
            labels.update(TRAFFIC.selector_for(slot))
        kubectl.apply(one)
    for slot in ("blue", "green"):
        kubectl("rollout", "status", f"deployment/erp-{slot}", "--timeout=60s")
    url = node_url(TRAFFIC.service)
    kubectl.until(lambda: fetch(url)["version"] == "blue", "blue serves")
    async with connected(kubectl) as client:
        await claim(client, TRAFFIC, "r1")
        await asyncio.sleep(2)  # kube-proxy may know endpoints later than the API server
        with load(url) as result:
            await asyncio.sleep(1)
            assert (await go(client)).changed
            await asyncio.sleep(3)
            back = await switch(
                client,
                TRAFFIC,
                target="blue",
                release_id="r1",
                by="test",
                reason="back again",
                now=datetime.now(UTC),
                back=True,
                required=2,
            )
            await asyncio.sleep(3)
        assert back.changed
        assert not back.page
        assert result.lost == []
        assert result.sent > 100
        assert set(result.versions) == {"blue", "green"}
        assert result.last["blue"] > result.last["green"]

        kubectl("scale", "deployment", "erp-green", "--replicas=0")
        kubectl("rollout", "status", "deployment/erp-green", "--timeout=60s")
        kubectl.until(lambda: not kubectl.items("pods", "-l", "version=green"), "green's pods are gone")
        with pytest.raises(NotEnoughEndpoints):
            await go(client, "green", back=True)
    assert selector(kubectl) == TRAFFIC.selector_for("blue")


async def claim_without_interruption(client: Interrupted) -> None:
    meanwhile, client.meanwhile = client.meanwhile, None
    await claim(client, TRAFFIC, "r1")
    client.meanwhile = meanwhile
