"""Draining ends when every pod is new and nobody reaches the slot; otherwise the record says what is the case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import DeploymentState, ServiceState
from include.clients.kubernetes import Cluster
from include.errors import SlotNotReady, TrafficError
from include.plan.loader import load_plan, plan_folder
from include.slo.samples import PodSample, Snapshot
from include.steps import drain as draining
from include.steps.drain import LeftSlot, drained

AT = datetime.now(UTC) - timedelta(seconds=30)


@dataclass
class World:
    """A cluster of which blue was left: its old pods go away after some looks."""

    looks_until_replaced: int = 2
    restarts: list[tuple[str, datetime]] = field(default_factory=list)
    active: str = "green"

    async def service(self, name: str) -> ServiceState:
        environment = load_plan(plan_folder()).environment("production")
        moved = LastSwitch("green", "test", "", AT, "r1", "forward")
        return ServiceState(
            name,
            environment.traffic.selector_for("green" if self.active == "green" else "blue"),
            {RELEASE_ID: "r1", LAST_SWITCH: moved.encode()},
        )

    async def restart_deployment(self, name: str, at: datetime) -> None:
        self.restarts.append((name, at))

    async def pods_not_restarted(self, labels: Any, at: datetime) -> tuple[str, ...]:
        self.looks_until_replaced -= 1
        return ("old",) if self.looks_until_replaced >= 0 else ()

    async def deployment(self, name: str) -> DeploymentState:
        return DeploymentState(name, 3, 3, 3, 1, 1)


@pytest.fixture
def left() -> LeftSlot:
    return LeftSlot(load_plan(plan_folder()).environment("production"), "blue", "r1", AT)


Served = Callable[[str, int], tuple[int, bool]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[Served], None]:
    """Have the pods of each slot show ``counter, readable`` by slot and number of the look."""
    monkeypatch.setattr(draining, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(draining, "SILENCE_SECONDS", 1.0)

    def by(counter: Served) -> None:
        looks = {"blue": 0, "green": 0}

        async def look(cluster: Cluster, traffic: object, slot: Any, now: float, **_: object) -> Snapshot:
            looks[slot] += 1
            value, readable = counter(slot, looks[slot])
            samples = (PodSample(slot, slot, now, 1.0, {"200": float(value)}),) if readable else ()
            return Snapshot(now, slot, samples, unread=() if readable else (slot,))

        monkeypatch.setattr(draining, "snapshot", look)

    return by


async def drain(left: LeftSlot, world: World, **options: Any) -> dict[str, Any]:
    return await drained(left, cast(Cluster, world), **{"limit_seconds": 5.0, **options})


async def test_it_ends_when_all_pods_are_new_and_nobody_is_there(
    left: LeftSlot, served: Callable[[Served], None], caplog: pytest.LogCaptureFixture
) -> None:
    served(lambda slot, number: (number * 10 if slot == "green" else min(number, 12) * 5, True))
    world = World()
    found = await drain(left, world)
    assert world.restarts == [("valeo-erp-production-blue", AT)]
    assert (found["slot"], found["policy"], found["verdict"]) == ("blue", "restart", "DRAINED")
    shares = [share for _, _, _, share, _ in found["points"]]
    assert shares[0] == 0.3333
    assert shares[-1] == 0.0
    assert found["sentence"].startswith("DRAINED: every pod of blue was replaced within")


async def test_somebody_who_stays_is_said(left: LeftSlot, served: Callable[[Served], None]) -> None:
    served(lambda slot, number: (number * 10, True))
    found = await drain(left, World(0))
    assert found["verdict"] == "LINGERING"
    assert "10 of 20 requests (50.0%)" in found["sentence"]


async def test_without_metrics_it_is_unknown_and_no_success(
    left: LeftSlot, served: Callable[[Served], None]
) -> None:
    served(lambda slot, number: (0, slot == "green"))
    found = await drain(left, World(0))
    assert found["verdict"] == "UNKNOWN"
    assert {share for _, _, _, share, _ in found["points"]} == {None}


async def test_a_slot_that_does_not_come_back_is_an_error_only_where_it_is_the_way_back(
    left: LeftSlot, served: Callable[[Served], None]
) -> None:
    served(lambda slot, number: (0, True))
    with pytest.raises(SlotNotReady, match="did not come back"):
        await drain(left, World(99), limit_seconds=0.1)
    found = await drain(left, World(99), limit_seconds=0.6, must_come_back=False)
    assert "did not come back" in found["sentence"]
    assert "seconds" not in found


async def test_a_slot_that_takes_traffic_is_not_restarted(
    left: LeftSlot, served: Callable[[Served], None]
) -> None:
    served(lambda slot, number: (0, True))
    world = World(active="blue")
    with pytest.raises(TrafficError):
        await drain(left, world)
    assert world.restarts == []


async def test_a_policy_to_leave_them_restarts_nothing(left: LeftSlot) -> None:
    world = World()
    environment = left.environment.model_copy(update={"drain": "leave"})
    found = await drain(LeftSlot(environment, "blue", "r1", AT), world)
    assert (found["policy"], world.restarts) == ("leave", [])


async def test_a_measurement_that_fails_is_unknown(left: LeftSlot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> Snapshot:
        raise RuntimeError("a defect")

    monkeypatch.setattr(draining, "snapshot", broken)
    monkeypatch.setattr(draining, "SILENCE_SECONDS", 0.1)
    found = await drain(left, World(0))
    assert found["verdict"] == "UNKNOWN"
    assert "nothing was measured" in found["sentence"]
