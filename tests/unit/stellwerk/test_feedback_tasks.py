"""A critical report: people are asked until one decides; silence is recorded, pages and asks again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    DagRunTriggerException,
    TaskAwaitingInput,
)

from include.errors import ClusterUnreachable
from include.steps import feedback, page
from include.steps.feedback import give
from stellwerk.operators import feedback as tasks
from stellwerk.operators.feedback import AskRollBack, StartFeedbackRollback
from tests.unit.steps.watching import cut_over_ledger, release_run


class World:
    """The task with its surroundings replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, task: Any) -> None:
        self.run = release_run("f1", "user-feedback", "key-user")
        self.ledger, self.memory = cut_over_ledger(release_run())
        self.task = task
        self.asked: list[dict[str, Any]] = []
        self.paged: list[str] = []
        self.in_traffic: bool | None = True
        self.context = cast(Any, {"ti": SimpleNamespace(id=uuid4())})

        async def in_traffic(*_: object) -> bool:
            if self.in_traffic is None:
                raise ClusterUnreachable("no answer")
            return self.in_traffic

        monkeypatch.setattr(feedback, "in_traffic", in_traffic)
        monkeypatch.setattr(page, "page", lambda run, ledger, matter, send: self.paged.append(matter.key))
        monkeypatch.setattr(tasks, "release_run", lambda context, **_: self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda context, **_: self.run)
        monkeypatch.setattr(tasks, "upsert_hitl_detail", lambda ti_id, *a, **more: self.asked.append(more))
        monkeypatch.setattr(task, "ledger", lambda run: self.ledger)
        monkeypatch.setattr(task, "note_ledger_head", lambda: None)
        monkeypatch.setattr(task, "with_cluster", lambda run, step: asyncio.run(step(run, None)))

    def says(self, verdict: str) -> None:
        give(self.run, self.ledger, verdict, "order 17 is gone")

    def waits(self, event: dict[str, Any] | None = None) -> TaskAwaitingInput:
        """Run or resume the task until it waits for an answer."""
        resumed = (event,) if event else ()
        step = self.task.execute_complete if event else self.task.execute
        with pytest.raises(TaskAwaitingInput) as waiting:
            step(self.context, *resumed)
        return waiting.value

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.memory.written]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, AskRollBack(task_id="roll_back_now"))


def _answer(choice: str, user: str | None = "technical-lead", comment: str = "") -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": {"comment": comment},
        "responded_at": datetime(2026, 1, 1, 12, 5, tzinfo=UTC),
        "responded_by_user": {"id": user, "name": user} if user else None,
        "timedout": user is None,
    }


SILENCE = {"error": "The timeout has passed", "error_type": "timeout"}


def test_a_critical_report_is_asked_about(world: World) -> None:
    world.says("critical-security")
    assert world.waits().timeout is not None
    [asked] = world.asked
    assert len(asked["assigned_users"]) == 3
    assert "defaults" not in asked, "nothing answers by itself"


@pytest.mark.parametrize("verdict", ["works", "problem"])
def test_what_is_not_critical_asks_nobody(world: World, verdict: str) -> None:
    world.says(verdict)
    with pytest.raises(AirflowSkipException, match="not critical"):
        world.task.execute(world.context)
    assert world.asked == []


def test_silence_is_recorded_pages_and_asks_again_and_rolls_nothing_back(world: World) -> None:
    world.says("critical-data-loss")
    for _ in range(2):
        world.waits(SILENCE)
    world.waits(_answer("Roll back now", user=None))
    assert world.kinds().count("feedback.silence") == 3
    assert len(set(world.paged)) == 3
    assert len(world.asked) == 3
    assert "feedback.decided" not in world.kinds()


def test_after_a_day_of_silence_the_task_gives_up_loudly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_PAGES", 1)
    world.says("critical-data-loss")
    world.waits(SILENCE)
    with pytest.raises(AirflowFailException, match="nobody decides"):
        world.task.execute_complete(world.context, SILENCE)


def test_a_decision_is_recorded_with_who_and_why(world: World) -> None:
    world.says("critical-data-loss")
    said = world.task.execute_complete(world.context, _answer("Roll back now", comment="seen it"))
    assert said == {"user": "technical-lead", "why": "seen it"}
    assert (world.memory.written[-1].kind, world.memory.written[-1].actor) == (
        "feedback.decided",
        "technical-lead",
    )


def test_no_rollback_skips_what_would_start_one(world: World) -> None:
    world.says("critical-data-loss")
    with pytest.raises(AirflowSkipException, match="no rollback"):
        world.task.execute_complete(world.context, _answer("No rollback", comment="was so before"))
    assert world.kinds()[-1] == "feedback.decided"


def test_nobody_else_decides_even_if_airflow_let_them(world: World) -> None:
    world.says("critical-data-loss")
    world.waits(_answer("Roll back now", user="admin"))
    assert "feedback.decided" not in world.kinds()


def test_the_asking_ends_when_nobody_is_on_the_release_and_goes_on_in_doubt(world: World) -> None:
    world.says("critical-data-loss")
    world.in_traffic = None
    world.waits(SILENCE)
    world.in_traffic = False
    with pytest.raises(AirflowSkipException, match="nothing to roll back"):
        world.task.execute_complete(world.context, SILENCE)


def test_only_what_the_ledger_confirms_starts_a_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, StartFeedbackRollback(task_id="start_rollback"))
    world.says("critical-data-loss")
    with pytest.raises(AirflowSkipException, match="nobody confirmed"):
        world.task.execute(world.context)
    asking = World(monkeypatch, AskRollBack(task_id="roll_back_now"))
    asking.ledger, asking.memory = world.ledger, world.memory
    asking.task.execute_complete(asking.context, _answer("Roll back now", comment="seen it"))
    monkeypatch.setattr(world.task, "ledger", lambda run: world.ledger)
    with pytest.raises(DagRunTriggerException) as started:
        world.task.execute(world.context)
    assert started.value.trigger_dag_id == "rollback"
    assert started.value.dag_run_id == "feedback__f1"
    assert started.value.conf["option"] == "auto"
    assert "seen it" in started.value.conf["reason"]
