"""The watch's task and its trigger: what resumes it is told apart, nothing is lost between two processes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast, get_args
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.triggers.base import TriggerEvent

from include.errors import ClusterUnreachable, LedgerUnavailable
from include.ledger.store import Ledger
from include.steps import page as paging
from include.steps import steering
from include.steps.record import SWITCHED_BACK, WATCH_ENDED, WATCH_PASSED, record
from include.watch.config import Progress, Result, WatchConfig, WatchOutcome
from stellwerk.sensors import watch as sensor
from stellwerk.sensors.question import CloseWatchQuestion
from stellwerk.sensors.watch import ReleaseWatch
from stellwerk.triggers import supervisor
from stellwerk.triggers import watch as triggers
from stellwerk.triggers.supervisor import CLOSED
from stellwerk.triggers.watch import Shown, WatchTrigger
from tests.unit.steps.watching import CUTOVER, begun, cut_over_ledger, release_run


class World:
    """The task with its surroundings replaced: what it asked, pushed, paged and deferred to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = release_run()
        self.ledger, self.memory = cut_over_ledger(self.run)
        self.config = begun(self.run, self.ledger)
        self.asked: list[dict[str, Any]] = []
        self.pushed: dict[str, Any] = {}
        self.paged: list[str] = []
        self.traffic: WatchOutcome | None = None
        self.switched: WatchOutcome | None = None
        self.ledger_is_out = self.cluster_is_out = False
        self.task = ReleaseWatch(task_id="watch")
        ti = SimpleNamespace(id=uuid4(), xcom_push=lambda key, value: self.pushed.__setitem__(key, value))
        self.context = cast(Any, {"ti": ti})
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ledger(*_: object) -> Ledger:
            if self.ledger_is_out:
                raise LedgerUnavailable("the ledger is out")
            return self.ledger

        def with_cluster(step: Any) -> Any:
            if self.cluster_is_out:
                raise ClusterUnreachable("no answer")
            return asyncio.run(step(self.run, None))

        async def left(*_: object) -> WatchOutcome | None:
            return self.traffic

        async def back(config: WatchConfig, cluster: object, answer: Any) -> WatchOutcome:
            assert self.switched is not None
            return self.switched

        monkeypatch.setattr(sensor, "release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr(
            sensor, "upsert_hitl_detail", lambda ti_id, *a, **more: self.asked.append({"ti": ti_id, **more})
        )
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", ledger)
        monkeypatch.setattr(self.task, "ledger", ledger)
        monkeypatch.setattr(self.task, "note_ledger_head", lambda: None)
        monkeypatch.setattr(self.task, "with_cluster", lambda run, step: with_cluster(step))
        monkeypatch.setattr(self.task, "with_watched_cluster", lambda config, step: asyncio.run(step(None)))
        monkeypatch.setattr(steering, "left_meanwhile", left)
        monkeypatch.setattr(steering, "roll_back_now", back)
        monkeypatch.setattr(paging, "page", lambda run, ledger, matter, send: self.paged.append(matter.key))

    def begin(self) -> WatchConfig:
        """Run the task from its beginning until it defers."""
        return self._deferred(lambda: self.task.execute(self.context))

    def resume(self, event: dict[str, Any], config: WatchConfig | None = None) -> WatchConfig:
        """Resume the task until it defers again; the window it goes on with."""
        return self._deferred(lambda: self.complete(event, config))

    def complete(self, event: dict[str, Any], config: WatchConfig | None = None) -> Any:
        """Resume the task to its end."""
        return self.task.execute_complete(self.context, event, (config or self.config).dump())

    def _deferred(self, call: Any) -> WatchConfig:
        with pytest.raises(TaskDeferred) as deferred:
            call()
        assert deferred.value.method_name == "execute_complete"
        assert isinstance(deferred.value.trigger, WatchTrigger)
        config = WatchConfig.load(deferred.value.trigger.config)
        assert deferred.value.kwargs == {"config": config.dump()}
        return config

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.memory.written]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def _answer(choice: str, user: str = "technical-lead", **fields: str) -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": fields,
        "responded_at": datetime(2026, 1, 1, 12, 5, tzinfo=UTC),
        "responded_by_user": {"id": user, "name": user},
        "timedout": False,
    }


def _outcome(result: Any, **more: Any) -> WatchOutcome:
    return WatchOutcome(result=result, sentence="so it is", at=CUTOVER.timestamp() + 600, **more)


def test_it_asks_the_people_of_the_gate_and_defers(world: World) -> None:
    assert world.begin() == world.config
    [asked] = world.asked
    assert {user["id"] for user in asked["assigned_users"]} == {"technical-lead", "business-owner", "on-call-lead"}
    assert {name: field["value"] for name, field in asked["params"].items()} == {"comment": "", "minutes": ""}
    assert world.pushed["question"] == str(world.context["ti"].id)


def test_extending_is_recorded_asks_again_and_goes_on_for_longer(world: World) -> None:
    longer = world.resume(_answer("Extend", minutes="10", comment="slow start"))
    assert longer.deadline >= world.config.deadline + 600
    assert len(world.asked) == 1
    assert "watch.extended" in world.kinds()
    assert world.begin().deadline == longer.deadline, "a retry knows of it"


@pytest.mark.parametrize("answer", [_answer("Extend"), _answer("Accept"), _answer("Roll back now", user="admin")])
def test_what_makes_no_sense_is_asked_again_and_changes_nothing(world: World, answer: dict[str, Any]) -> None:
    assert world.resume(answer) == world.config
    assert len(world.asked) == 1
    assert "asked again" in world.pushed["asked_again"]
    assert world.kinds()[-1] == "watch.answer-refused"


def test_accepting_ends_the_watch_as_passed_with_who_and_why(world: World) -> None:
    result = world.complete(_answer("Accept", comment="a monitor's errors"))
    assert (result["result"], result["measures"]["accepted_by"]) == ("ACCEPTED", "technical-lead")
    assert world.kinds()[-3:] == ["watch.accepted", WATCH_ENDED, WATCH_PASSED]
    assert world.asked == []


@pytest.mark.parametrize("broken", ["ledger_is_out", "cluster_is_out"])
def test_nobody_accepts_while_it_cannot_be_recorded_or_seen(world: World, broken: str) -> None:
    setattr(world, broken, True)
    assert world.resume(_answer("Accept", comment="fine")) == world.config
    assert len(world.asked) == 1
    assert "it cannot be done now" in world.pushed["asked_again"]
    assert WATCH_PASSED not in world.kinds()


def test_accepting_what_was_rolled_back_meanwhile_comes_too_late(world: World) -> None:
    world.traffic = _outcome("ROLLED_BACK")
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.complete(_answer("Accept", comment="fine"))
    assert "watch.answered-late" in world.kinds()
    assert WATCH_PASSED not in world.kinds()


@pytest.mark.parametrize("out", [False, True])
def test_an_ordered_rollback_fails_the_task_whatever_the_ledger_does(world: World, out: bool) -> None:
    world.ledger_is_out = out
    world.switched = _outcome("ROLLED_BACK", switched_at=CUTOVER.timestamp() + 600)
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.complete(_answer("Roll back now", comment="orders vanish"))
    assert (SWITCHED_BACK in world.kinds()) is not out
    assert ("watch.rollback-ordered" in world.kinds()) is not out


def test_a_rollback_that_was_ordered_and_is_impossible_pages_asks_and_watches_on(world: World) -> None:
    world.switched = _outcome("ROLLBACK_BLOCKED", pages=("blocked",))
    held = world.resume(_answer("Roll back now"))
    assert held.hold_until is not None
    assert len(world.asked) == len(world.paged) == 1


def test_an_order_that_a_killed_task_left_undone_is_carried_out_by_the_next_attempt(world: World) -> None:
    world.switched = _outcome("ROLLBACK_BLOCKED", pages=("blocked",))
    world.resume(_answer("Roll back now", comment="orders vanish"))
    world.switched = _outcome("ROLLED_BACK")
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.task.execute(world.context)


@pytest.mark.parametrize("result", ["NOTICE", "HELD", "ROLLBACK_BLOCKED"])
def test_a_notice_pages_and_goes_on_without_touching_the_question(world: World, result: Any) -> None:
    on = world.resume(_outcome(result, pages=("metrics",)).dump())
    assert len(world.paged) == 1
    assert world.asked == [], "recording it again would wipe out an answer given just now"
    assert (on.hold_until is None) == (result == "NOTICE")


def test_a_watch_that_passed_is_held_by_critical_feedback_and_its_closed_question_asked_again(
    world: World,
) -> None:
    told = release_run("f1", "user-feedback", "ann")
    record(
        world.ledger, told, "feedback.given", {"verdict": "critical-security", "text": "open door"}, actor="ann"
    )
    on = world.resume({**_outcome("PASSED").dump(), "closed": True, "late_answer": None})
    assert on.hold_until is not None
    assert len(world.asked) == len(world.paged) == 1
    assert WATCH_PASSED not in world.kinds()


def test_an_answer_that_the_end_overtook_is_recorded_as_late(world: World) -> None:
    late = {**_answer("Extend", minutes="5"), "responded_at": "2026-01-01T12:05:00+00:00"}
    result = world.complete({**_outcome("PASSED").dump(), "closed": False, "late_answer": late})
    assert result["result"] == "PASSED"
    assert "watch.answered-late" in world.kinds()


# -- the trigger ---------------------------------------------------------------------------------------------


class Supervisor:
    """What a trigger's supervisor answers, and what it was asked."""

    def __init__(self, detail: Any) -> None:
        self.detail = detail
        self.asked: list[str] = []

    async def asend(self, message: Any) -> Any:
        self.asked.append(message.type)
        if message.type == "SetXCom":
            return None
        if message.type == "UpdateHITLDetail":
            self.detail.response_received, self.detail.chosen_options = True, message.chosen_options
        return self.detail


@pytest.fixture
def detail(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    detail = SimpleNamespace(
        response_received=False, chosen_options=None, params_input={}, responded_at=None, responded_by_user=None
    )
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Supervisor(detail), raising=False
    )
    return detail


async def _event(config: WatchConfig) -> dict[str, Any]:
    trigger = WatchTrigger(config=config.dump())
    trigger.task_instance = cast(
        Any, SimpleNamespace(id=uuid4(), dag_id="d", run_id="r", task_id="t", map_index=-1)
    )
    events: list[TriggerEvent] = [event async for event in trigger.run()]
    [event] = events
    return dict(cast(Any, event.payload))


@pytest.fixture
def config(world: World) -> WatchConfig:
    return world.config


def _watching(monkeypatch: pytest.MonkeyPatch, *, outcome: WatchOutcome | None) -> list[str]:
    """Replace the watch by one that ends like this, or never; what became of it."""
    monkeypatch.setattr(triggers, "_CANCEL_SECONDS", 0.0)
    became: list[str] = []

    async def watch(self: WatchTrigger, config: WatchConfig) -> WatchOutcome:
        try:
            if outcome is None:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            became.append("cancelled")
            raise
        became.append("ended")
        return cast(WatchOutcome, outcome)

    monkeypatch.setattr(WatchTrigger, "_watch", watch)
    return became


async def test_the_end_closes_the_question(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watching(monkeypatch, outcome=_outcome("PASSED"))
    event = await _event(config)
    assert (event["result"], event["closed"], event["late_answer"]) == ("PASSED", True, None)
    assert detail.chosen_options == [CLOSED]


async def test_a_trigger_that_is_obsolete_is_cancelled_before_it_closes_anything(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    became = _watching(monkeypatch, outcome=_outcome("PASSED"))
    monkeypatch.setattr(triggers, "_CANCEL_SECONDS", 60.0)
    obsolete = asyncio.create_task(_event(config))
    while not became:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    obsolete.cancel()
    with pytest.raises(asyncio.CancelledError):
        await obsolete
    assert not detail.response_received


async def test_a_question_that_goes_on_stays_open(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watching(monkeypatch, outcome=_outcome("HELD"))
    assert "closed" not in await _event(config)
    assert not detail.response_received


async def test_an_answer_given_before_the_task_was_deferred_ends_the_trigger_and_its_watch(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    became = _watching(monkeypatch, outcome=None)
    detail.response_received, detail.chosen_options = True, ["Roll back now"]
    detail.responded_by_user = SimpleNamespace(id="technical-lead", name="x")
    event = await _event(config)
    assert event["chosen_options"] == ["Roll back now"]
    assert became == ["cancelled"]


async def test_a_trigger_that_is_killed_after_closing_the_question_takes_that_for_no_answer(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watching(monkeypatch, outcome=_outcome("PASSED"))
    detail.response_received, detail.chosen_options = True, [CLOSED]
    assert (await _event(config))["result"] == "PASSED"


async def test_a_supervisor_that_says_nothing_stops_no_watch(
    config: WatchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        async def asend(self, message: Any) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Silent(), raising=False)
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.02)
    _watching(monkeypatch, outcome=_outcome("ROLLED_BACK"))
    event = await _event(config)
    assert event["result"] == "ROLLED_BACK"
    assert "closed" not in event


async def test_cancelling_the_trigger_cancels_the_watch(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    became = _watching(monkeypatch, outcome=None)
    running = asyncio.create_task(_event(config))
    while not became:
        await asyncio.sleep(0.05)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert became == ["cancelled"]


async def test_hundreds_ask_one_after_the_other_and_none_loses_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most = 0, 0

    class Slow:
        async def asend(self, message: Any) -> Any:
            nonlocal busy, most
            busy, most = busy + 1, max(most, busy + 1)
            await asyncio.sleep(0.005)
            busy -= 1
            return SimpleNamespace(response_received=False)

    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Slow(), raising=False)
    answers = await asyncio.gather(*(supervisor.read_answer(uuid4()) for _ in range(300)))
    assert answers == [None] * 300
    assert most <= 4


def _progress(at: float, state: str = "HEALTHY") -> Progress:
    return Progress(at=at, state=state, sentence="x" * 1000, seconds_left=1.0)


def test_progress_is_shown_on_change_and_else_every_fifteen_seconds_and_stays_small() -> None:
    shown = Shown(poll_seconds=1)
    told = [at for at in range(0, 120, 5) if shown.next(_progress(1000.0 + at))]
    assert told == list(range(0, 120, 15))
    value = None
    for at in range(200, 300, 2):
        value = shown.next(_progress(1000.0 + at, "DEGRADED" if at % 4 else "HEALTHY")) or value
    assert value is not None
    assert len(value["changes"]) == 10
    assert len(str(value)) < 8000


def test_hundreds_of_slow_watches_are_shown_more_rarely() -> None:
    shown = Shown(poll_seconds=15)
    told = [at for at in range(0, 600, 15) if shown.next(_progress(1000.0 + at))]
    assert told == [0, 135, 270, 405, 540]


def test_every_end_of_a_watch_closes_its_question() -> None:
    goes_on = {"NOTICE", "HELD", "ROLLBACK_BLOCKED"}
    assert triggers.ENDS | goes_on | {"ACCEPTED"} == set(get_args(Result))


# -- the question's end --------------------------------------------------------------------------------------


@pytest.fixture
def closing(world: World, monkeypatch: pytest.MonkeyPatch) -> CloseWatchQuestion:
    task = CloseWatchQuestion(task_id="late_answers", watched="watch")
    monkeypatch.setattr("stellwerk.sensors.question.release_run", lambda context, **_: world.run)
    monkeypatch.setattr(task, "ledger", lambda run: world.ledger)
    monkeypatch.setattr(task, "note_ledger_head", lambda: None)
    return task


def test_without_a_watch_there_is_no_question_to_close(closing: CloseWatchQuestion) -> None:
    ti = SimpleNamespace(xcom_pull=lambda **_: None)
    with pytest.raises(AirflowSkipException, match="nobody was asked"):
        closing.execute(cast(Any, {"ti": ti}))


def test_an_answer_after_the_end_is_shown_and_recorded_once(world: World, closing: CloseWatchQuestion) -> None:
    for _ in range(2):
        said = closing.execute_complete(world.context, {"answer": _answer("Roll back now", comment="help")})
    assert world.kinds().count("watch.answered-late") == 1
    assert world.memory.written[-1].payload["why"] == "help"
    assert said == "nobody answered too late", "it was told before"


def test_what_the_watch_acted_upon_is_not_late(world: World, closing: CloseWatchQuestion) -> None:
    accepted = _answer("Accept", comment="fine")
    world.complete(accepted)
    assert closing.execute_complete(world.context, {"answer": accepted}) == "nobody answered too late"
    assert closing.execute_complete(world.context, {"answer": None}) == "nobody answered too late"
    assert closing.execute_complete(world.context, {"answer": None, "unknown": "TimeoutError: "}) == "not known"
