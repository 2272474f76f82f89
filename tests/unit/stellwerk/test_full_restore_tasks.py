"""The tasks of a rollback that touch the database: which are skipped, and what each insists on.

What they do to a database is the subject of tests/contract/test_full_restore.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped, TaskAwaitingInput

from include.steps.database.entries import LOSS_CONFIRMED, RESTORE_STATED
from include.steps.record import (
    BROUGHT_BACK,
    ROLLBACK_BLOCKED,
    ROLLBACK_CHOSEN,
    ROLLBACK_REFUSED,
    all_recorded,
    record,
)
from include.steps.run import ReleaseRun
from include.steps.schema_proof import REHEARSED, RESTORE_RESUMED, RESTORE_STOPPED, RESTORED, SchemaFact
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.full_restore import AskRestore
from stellwerk.operators.rollback import BringBack, RollbackEligibility
from tests.unit.steps.database.worlds import a_ledger, a_run

DAGS = Path(__file__).parents[3] / "dags"
GROUP = {f"full_restore.{name}" for name in ("state_loss", "ask", "stop", "count_again", "ask_again", "restore")}


class Instance:
    """A task instance that keeps what is pushed."""

    map_index = -1
    id = UUID(int=1)

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class World:
    """A run of rollback whose cluster and helm nobody asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = replace(a_run(), phase="rollback")
        self.ledger = a_ledger()
        self.instance = Instance()
        self.context = cast(Any, {"ti": self.instance, "task_instance": self.instance, "params": {}})
        for module in ("stellwerk.operators.base", "stellwerk.operators.way_back", "stellwerk.runs"):
            monkeypatch.setattr(f"{module}.release_run", lambda *_, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda *_, **__: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)

        def with_helm(task: StellwerkOperator, run: ReleaseRun, step: Callable[..., Any]) -> Any:
            return task.wait_for(step(run, None, None))

        monkeypatch.setattr(StellwerkOperator, "with_helm", with_helm)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture(scope="module")
def eligibility() -> RollbackEligibility:
    found = DagBag(str(DAGS / "rollback.py"))
    return cast("RollbackEligibility", found.dags["rollback"].get_task("eligibility"))


@pytest.mark.parametrize("option", ["blue-cutover", "helm-rollback"])
def test_the_tasks_of_a_restore_are_skipped_at_once_where_another_way_is_taken(
    world: World, eligibility: RollbackEligibility, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    async def choose(*_: Any) -> dict[str, Any]:
        return {"option": option, "done": False}

    monkeypatch.setattr("include.steps.rollback_choice.choose", choose)
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        eligibility.execute(world.context)
    assert set(skipped.value.tasks) == GROUP | {"full_restore.resume", "full_restore.announce"}
    assert world.instance.pushed["return_value"] == {"option": option, "done": False}
    assert len(all_recorded(world.ledger, world.run, ROLLBACK_CHOSEN)) == 1


def test_a_full_restore_goes_on_to_its_tasks(
    world: World, eligibility: RollbackEligibility, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(world.ledger, world.run, REHEARSED, {"fingerprint": "f", "id": "r1"})
    seen: list[Any] = []

    async def choose(*given: Any) -> dict[str, Any]:
        seen.extend(given)
        return {"option": "full-restore", "done": False}

    monkeypatch.setattr("include.steps.rollback_choice.choose", choose)
    monkeypatch.setattr(RollbackEligibility, "schema", lambda *_: SchemaFact("rehearsed", "r1"))
    assert eligibility.execute(world.context)["option"] == "full-restore"
    assert world.instance.pushed == {}
    assert seen[3] == "rehearsed"
    assert seen[5].rehearsal == "r1"
    assert seen[5].look().reason.startswith("no migration of 3.0.0"), "and nothing is opened for that"
    (entry,) = all_recorded(world.ledger, world.run, ROLLBACK_CHOSEN)
    assert entry.payload["rehearsal"] == "r1"


def test_the_old_version_comes_up_only_on_the_database_that_this_run_has_restored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def bring_back(*given: Any, was_stopped: bool) -> dict[str, Any]:
        asked.append((given[3], given[4], was_stopped))
        return {"needed": True}

    monkeypatch.setattr("include.steps.bring_back.bring_back", bring_back)
    task = BringBack(task_id="bring_back", option="full-restore", reason="damaged")
    with pytest.raises(AirflowFailException, match="has not been restored"):
        task.execute(world.context)
    assert asked == []
    record(world.ledger, world.run, RESTORED, {})
    task.execute(world.context)
    BringBack(task_id="bring_back", option="auto", reason="").execute(world.context)
    assert asked == [("unchanged", "auto", True), ("unchanged", "auto", False)]
    assert len(all_recorded(world.ledger, world.run, BROUGHT_BACK)) == 1


def test_a_yes_without_a_reason_restores_nothing_ends_nothing_and_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(world.ledger, world.run, RESTORE_STATED, {"digest": "d1", "sentences": ["3 rows are lost"]})
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **given: asked.append(given))
    said: dict[str, Any] = {
        "chosen_options": ["Restore"],
        "params_input": {"reason": "", "statement": "d1"},
        "responded_at": datetime(2030, 5, 1, 9, tzinfo=UTC),
        "responded_by_user": {"id": "anna", "name": "anna"},
    }
    with pytest.raises(TaskAwaitingInput):
        AskRestore(task_id="ask").execute_complete(world.context, said)
    assert "*Restore* needs a reason" in asked[0]["body"]
    assert "without a reason" in world.instance.pushed["asked_again"]
    assert all_recorded(world.ledger, world.run, LOSS_CONFIRMED, ROLLBACK_BLOCKED, ROLLBACK_REFUSED) == ()
    said["params_input"]["reason"] = "the data are damaged"
    assert AskRestore(task_id="ask").execute_complete(world.context, said)["by"] == "anna"
    assert AskRestore(task_id="ask").execute(world.context)["by"] == "anna", "nobody is asked again about that"
    assert len(asked) == 1


def test_people_are_called_to_a_question_for_which_users_are_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    record(world.ledger, world.run, RESTORE_STATED, {"digest": "d1", "sentences": []})
    for kind in (None, RESTORE_STOPPED, RESTORE_RESUMED):
        if kind:
            record(world.ledger, world.run, kind, {})
        with pytest.raises(TaskAwaitingInput):
            AskRestore(task_id="ask_again").execute(world.context)
    assert [matter.what[:14] for matter in called] == ["users are down"]
    assert "answer ask_again under the required actions" in called[0].remedy
