"""The watch's task and trigger before the cutover: ready, asked, stopped, begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import TriggerEvent

from include.bluegreen.fence import LAST_SWITCH, LastSwitch
from include.errors import LedgerUnavailable
from include.steps.arming import begun, watch_awake
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    WATCH_ANSWER_REFUSED,
    WATCH_ENDED,
    WATCH_ROLLBACK_ORDERED,
    record,
)
from include.steps.steering import record_order
from include.watch import loop
from include.watch.arming import ordered_early
from include.watch.config import Armed, WatchConfig, WatchOutcome
from include.watch.steer import ROLL_BACK, Answer
from include.watch.world import World as Reads
from stellwerk.triggers import armed as armed_triggers
from stellwerk.triggers import world as worlds
from stellwerk.triggers.watch import WatchTrigger
from tests.unit.stellwerk.watch_task import World, answered, outcome
from tests.unit.steps.watching import answer

MOVED = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, live=False)


def _moved(world: World) -> Any:
    """The traffic Service once this release has moved the traffic."""
    record(world.ledger, world.run, CUTOVER_INTENDED, {"automatic_switch_back": True})
    switch = LastSwitch("green", "phase", "cutover", MOVED, world.run.release_id, "forward")
    return SimpleNamespace(annotations={LAST_SWITCH: switch.encode()})


def _begun(world: World) -> WatchConfig:
    """The window, as the trigger has begun it."""
    _moved(world)
    return begun(world.config, world.ledger, MOVED)


def test_before_the_cutover_it_asks_and_defers_armed(world: World) -> None:
    armed = world.begin()
    assert type(armed) is Armed
    assert armed == world.config
    assert len(world.asked) == 1


def test_roll_back_before_the_cutover_is_recorded_and_stops_it(world: World) -> None:
    assert world.resume(answered("Roll back now", comment="wrong one")) == world.config
    assert WATCH_ROLLBACK_ORDERED in world.kinds()
    assert len(world.asked) == 1, "the answer that stands would end the next trigger at once"


@pytest.mark.parametrize("answer", [answered("Accept", comment="fine"), answered("Extend", minutes="5")])
def test_nothing_else_makes_sense_before_the_cutover(world: World, answer: dict[str, Any]) -> None:
    assert world.resume(answer) == world.config
    assert WATCH_ANSWER_REFUSED in world.kinds()
    assert len(world.asked) == 1


def test_who_may_not_steer_stops_nothing(world: World) -> None:
    assert world.resume(answered("Roll back now", user="admin")) == world.config
    assert WATCH_ROLLBACK_ORDERED not in world.kinds()


def test_an_order_that_cannot_be_recorded_ends_the_watch_and_without_it_nothing_goes_live(world: World) -> None:
    world.ledger_is_out = True
    world.switched = outcome("ROLLED_BACK_BY_HAND")
    with pytest.raises(AirflowFailException, match="rolled back by technical-lead"):
        world.complete(answered("Roll back now"))


def test_an_answer_after_the_switch_is_one_to_the_window(world: World) -> None:
    window = _begun(world)
    world.cluster_is_out = True
    longer = world.resume(answered("Extend", minutes="10"))
    assert isinstance(longer, WatchConfig)
    assert longer.deadline >= window.deadline + 600
    assert longer.baselines == window.baselines


@pytest.mark.parametrize("answer", [answered("Accept", comment="fine"), answered("Extend", minutes="5")])
def test_a_ledger_that_is_out_costs_no_window(world: World, answer: dict[str, Any]) -> None:
    window = _begun(world)
    world.ledger_is_out = True
    assert world.resume(answer) == world.config, "armed, it finds its window again"
    world.pushed["window"] = window.dump()
    assert world.resume(answer) == window, "or in what the trigger has left in Airflow"
    assert window.may_switch_back


@pytest.mark.parametrize("left", [True, False])
def test_a_rollback_after_the_switch_needs_no_ledger(world: World, left: bool) -> None:
    window = _begun(world)
    if left:
        world.pushed["window"] = window.dump()
    world.ledger_is_out = True
    world.switched = outcome("ROLLED_BACK", switched_at=MOVED.timestamp() + 3)
    with pytest.raises(AirflowFailException, match="rolled back by technical-lead"):
        world.complete(answered("Roll back now"))


def test_a_rollback_that_is_not_possible_while_the_ledger_is_out_pages_and_goes_on_armed(world: World) -> None:
    _begun(world)
    world.ledger_is_out = True
    world.switched = outcome("ROLLBACK_BLOCKED", pages=("blocked",))
    assert world.resume(answered("Roll back now")) == world.config
    assert len(world.paged) == 1
    assert len(world.asked) == 1


def test_an_order_from_before_is_made_once_the_traffic_has_come(world: World) -> None:
    window = _begun(world)
    world.ledger_is_out = True
    order = Answer(ROLL_BACK, "technical-lead", MOVED, "stop")
    world.switched = outcome("ROLLED_BACK", switched_at=MOVED.timestamp() + 3)
    event = {**ordered_early(order, MOVED.timestamp()).dump(), "config": window.dump()}
    with pytest.raises(AirflowFailException, match="rolled back by technical-lead"):
        world.complete(event)


def test_a_cutover_that_moved_nothing_ends_the_watch_without_a_window(world: World) -> None:
    with pytest.raises(AirflowFailException, match="nothing to watch"):
        world.complete(outcome("NOT_CUT_OVER").dump())
    assert WATCH_ENDED not in world.kinds()
    assert isinstance(world.begin(), Armed), "cleared, it begins again"


def test_the_window_that_the_trigger_has_begun_is_in_its_event(world: World) -> None:
    window = _begun(world)
    went_on = world.resume({**outcome("NOTICE", pages=("metrics",)).dump(), "config": window.dump()})
    assert went_on.deadline == window.deadline
    assert went_on.paged == ("metrics",)


class Triggerer:
    """What the trigger finds around itself: the Service, the cutover's state, the ledger."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.state: str | None = "running"
        self.service: Any = SimpleNamespace(annotations={})
        self.watched: list[WatchConfig] = []
        self.ledger_failures = 0
        self.shown: dict[str, Any] = {}

        @asynccontextmanager
        async def open_world(config: Armed, progress: Any) -> AsyncIterator[Reads]:
            yield Reads(cast(Any, SimpleNamespace(service=self._service)))

        async def with_account(reads: Reads, config: WatchConfig) -> Reads:
            return reads

        async def watch(config: WatchConfig, reads: Reads) -> WatchOutcome:
            self.watched.append(config)
            return outcome("PASSED")

        async def event(trigger: WatchTrigger, ended: WatchOutcome) -> dict[str, Any]:
            return {**ended.dump(), "config": trigger.config}

        async def no_answer(trigger: WatchTrigger) -> None:
            return None

        monkeypatch.setattr(worlds, "open_world", open_world)
        monkeypatch.setattr(worlds, "with_account", with_account)
        monkeypatch.setattr(loop, "watch", watch)
        monkeypatch.setattr(armed_triggers, "aopen_ledger", self._open_ledger)
        monkeypatch.setattr(armed_triggers, "state_of", self._state)
        monkeypatch.setattr(armed_triggers, "show", self._show)
        monkeypatch.setattr(armed_triggers, "shown", self._read)
        monkeypatch.setattr(armed_triggers, "_AGAIN_SECONDS", 0.01)
        monkeypatch.setattr(WatchTrigger, "_event", event)
        monkeypatch.setattr(WatchTrigger, "_early_answer", no_answer)

    async def _service(self, name: str) -> Any:
        return self.service

    async def _show(self, ti: Any, key: str, value: Any) -> None:
        self.shown[key] = value

    async def _read(self, ti: Any, key: str) -> Any:
        return self.shown.get(key)

    async def _open_ledger(self, *_: object) -> Any:
        if self.ledger_failures:
            self.ledger_failures -= 1
            raise LedgerUnavailable("no answer")
        return self.world.ledger

    async def _state(self, ti: Any, task_id: str) -> str | None:
        assert task_id == "cutover"
        return self.state

    async def run(self) -> dict[str, Any]:
        trigger = WatchTrigger(config=self.world.config.dump(), cutover="cutover")
        ti = SimpleNamespace(id=uuid4(), dag_id="d", run_id="r", task_id="watch", map_index=-1)
        trigger.task_instance = cast(Any, ti)
        events: list[TriggerEvent] = [event async for event in trigger.run()]
        [event] = events
        return dict(cast(Any, event.payload))


@pytest.fixture
def triggerer(world: World, monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    return Triggerer(world, monkeypatch)


async def test_it_answers_the_cutover_and_watches_from_the_switch_on(world: World, triggerer: Triggerer) -> None:
    running = asyncio.create_task(triggerer.run())
    await watch_awake(world.run, world.ledger, limit_seconds=30.0)
    assert not triggerer.watched, "nothing is live yet"
    triggerer.service = _moved(world)
    event = await running
    assert event["result"] == "PASSED"
    [watched] = triggerer.watched
    assert watched.began_at == MOVED.timestamp()
    assert WatchConfig.load(event["config"]) == watched


async def test_a_ledger_that_fails_after_the_switch_is_asked_until_it_answers(
    world: World, triggerer: Triggerer
) -> None:
    triggerer.service = _moved(world)
    triggerer.ledger_failures = 3
    assert (await triggerer.run())["result"] == "PASSED"
    assert triggerer.watched


async def test_a_triggerer_that_is_started_again_needs_no_ledger(world: World, triggerer: Triggerer) -> None:
    triggerer.service = _moved(world)
    await triggerer.run()
    triggerer.ledger_failures = 1000
    await triggerer.run()
    first, second = triggerer.watched
    assert first == second


async def test_a_selector_set_by_hand_and_proven_by_the_cutover_is_watched(
    world: World, triggerer: Triggerer
) -> None:
    record(world.ledger, world.run, CUT_OVER, {"automatic_switch_back": False, "at": MOVED.isoformat()})
    triggerer.state = "success"
    assert (await triggerer.run())["result"] == "PASSED"
    [watched] = triggerer.watched
    assert (watched.cutover_at, watched.may_switch_back) == (MOVED.timestamp(), False)


async def test_a_cutover_that_failed_ends_it(world: World, triggerer: Triggerer) -> None:
    triggerer.state = "failed"
    event = await triggerer.run()
    assert (event["result"], event["config"]) == ("NOT_CUT_OVER", world.config.dump())
    assert not triggerer.watched


async def test_an_order_from_before_the_switch_is_handed_to_the_task(world: World, triggerer: Triggerer) -> None:
    record_order(world.config, world.ledger, answer(ROLL_BACK))
    triggerer.service = _moved(world)
    event = await triggerer.run()
    assert (event["result"], event["measures"]["user"]) == ("ORDERED", "technical-lead")
    assert event["config"]["cutover_at"] == MOVED.timestamp()
    assert not triggerer.watched
