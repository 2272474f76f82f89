"""The watch's task and its trigger: what resumes it is told apart, nothing is lost between two processes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast, get_args
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import TriggerEvent

from include.steps.record import SWITCHED_BACK, WATCH_ENDED, WATCH_PASSED, record
from include.watch.config import Progress, Result, WatchConfig, WatchOutcome
from stellwerk.sensors.question import CloseWatchQuestion
from stellwerk.triggers import supervisor
from stellwerk.triggers import watch as triggers
from stellwerk.triggers.showing import Shown
from stellwerk.triggers.supervisor import CLOSED
from stellwerk.triggers.watch import WatchTrigger
from tests.unit.stellwerk.watch_task import World, answered, outcome
from tests.unit.steps.watching import CUTOVER, release_run


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_it_asks_the_people_of_the_gate_and_defers(world: World) -> None:
    assert world.begin() == world.config
    [asked] = world.asked
    assert {user["id"] for user in asked["assigned_users"]} == {"technical-lead", "business-owner", "on-call-lead"}
    assert {name: field["value"] for name, field in asked["params"].items()} == {"comment": "", "minutes": ""}
    assert world.pushed["question"] == str(world.context["ti"].id)


def test_extending_is_recorded_asks_again_and_goes_on_for_longer(world: World) -> None:
    longer = world.resume(answered("Extend", minutes="10", comment="slow start"))
    assert longer.deadline >= world.config.deadline + 600
    assert len(world.asked) == 1
    assert "watch.extended" in world.kinds()
    assert world.begin().deadline == longer.deadline, "a retry knows of it"


@pytest.mark.parametrize(
    "answer", [answered("Extend"), answered("Accept"), answered("Roll back now", user="admin")]
)
def test_what_makes_no_sense_is_asked_again_and_changes_nothing(world: World, answer: dict[str, Any]) -> None:
    assert world.resume(answer) == world.config
    assert len(world.asked) == 1
    assert "asked again" in world.pushed["asked_again"]
    assert world.kinds()[-1] == "watch.answer-refused"


def test_accepting_ends_the_watch_as_passed_with_who_and_why(world: World) -> None:
    result = world.complete(answered("Accept", comment="a monitor's errors"))
    assert (result["result"], result["measures"]["accepted_by"]) == ("ACCEPTED", "technical-lead")
    assert world.kinds()[-3:] == ["watch.accepted", WATCH_ENDED, WATCH_PASSED]
    assert world.asked == []


@pytest.mark.parametrize("broken", ["ledger_is_out", "cluster_is_out"])
def test_nobody_accepts_while_it_cannot_be_recorded_or_seen(world: World, broken: str) -> None:
    setattr(world, broken, True)
    assert world.resume(answered("Accept", comment="fine")) == world.config
    assert len(world.asked) == 1
    assert "it cannot be done now" in world.pushed["asked_again"]
    assert WATCH_PASSED not in world.kinds()


def test_accepting_what_was_rolled_back_meanwhile_comes_too_late(world: World) -> None:
    world.traffic = outcome("ROLLED_BACK")
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.complete(answered("Accept", comment="fine"))
    assert "watch.answered-late" in world.kinds()
    assert WATCH_PASSED not in world.kinds()


@pytest.mark.parametrize("out", [False, True])
def test_an_ordered_rollback_fails_the_task_whatever_the_ledger_does(world: World, out: bool) -> None:
    world.ledger_is_out = out
    world.switched = outcome("ROLLED_BACK", switched_at=CUTOVER.timestamp() + 600)
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.complete(answered("Roll back now", comment="orders vanish"))
    assert (SWITCHED_BACK in world.kinds()) is not out
    assert ("watch.rollback-ordered" in world.kinds()) is not out


def test_a_rollback_that_was_ordered_and_is_impossible_pages_asks_and_watches_on(world: World) -> None:
    world.switched = outcome("ROLLBACK_BLOCKED", pages=("blocked",))
    held = world.resume(answered("Roll back now"))
    assert held.hold_until is not None
    assert len(world.asked) == len(world.paged) == 1


def test_an_order_that_a_killed_task_left_undone_is_carried_out_by_the_next_attempt(world: World) -> None:
    world.switched = outcome("ROLLBACK_BLOCKED", pages=("blocked",))
    world.resume(answered("Roll back now", comment="orders vanish"))
    world.switched = outcome("ROLLED_BACK")
    with pytest.raises(AirflowFailException, match="RolledBack"):
        world.task.execute(world.context)


@pytest.mark.parametrize("result", ["NOTICE", "HELD", "ROLLBACK_BLOCKED"])
def test_a_notice_pages_and_goes_on_without_touching_the_question(world: World, result: Any) -> None:
    on = world.resume(outcome(result, pages=("metrics",)).dump())
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
    on = world.resume({**outcome("PASSED").dump(), "closed": True, "late_answer": None})
    assert on.hold_until is not None
    assert len(world.asked) == len(world.paged) == 1
    assert WATCH_PASSED not in world.kinds()


def test_an_answer_that_the_end_overtook_is_recorded_as_late(world: World) -> None:
    late = {**answered("Extend", minutes="5"), "responded_at": "2026-01-01T12:05:00+00:00"}
    result = world.complete({**outcome("PASSED").dump(), "closed": False, "late_answer": late})
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
    _watching(monkeypatch, outcome=outcome("PASSED"))
    event = await _event(config)
    assert (event["result"], event["closed"], event["late_answer"]) == ("PASSED", True, None)
    assert detail.chosen_options == [CLOSED]


async def test_a_trigger_that_is_obsolete_is_cancelled_before_it_closes_anything(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    became = _watching(monkeypatch, outcome=outcome("PASSED"))
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
    _watching(monkeypatch, outcome=outcome("HELD"))
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


async def test_a_trigger_that_is_killed_after_closing_the_question_takes_that_for_noanswered(
    config: WatchConfig, detail: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watching(monkeypatch, outcome=outcome("PASSED"))
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
    _watching(monkeypatch, outcome=outcome("ROLLED_BACK"))
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
    of_a_schema = {"FIRED", "MOVED"}
    assert triggers.ENDS | goes_on | of_a_schema | {"ACCEPTED", "ORDERED"} == set(get_args(Result))


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
        said = closing.execute_complete(world.context, {"answer": answered("Roll back now", comment="help")})
    assert world.kinds().count("watch.answered-late") == 1
    assert world.memory.written[-1].payload["why"] == "help"
    assert said == "nobody answered too late", "it was told before"


def test_what_the_watch_acted_upon_is_not_late(world: World, closing: CloseWatchQuestion) -> None:
    accepted = answered("Accept", comment="fine")
    world.complete(accepted)
    assert closing.execute_complete(world.context, {"answer": accepted}) == "nobody answered too late"
    assert closing.execute_complete(world.context, {"answer": None}) == "nobody answered too late"
    assert closing.execute_complete(world.context, {"answer": None, "unknown": "TimeoutError: "}) == "not known"
