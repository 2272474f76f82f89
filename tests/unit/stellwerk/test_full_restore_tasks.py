"""The tasks of a rollback that touch the database: which are skipped, and what each insists on.

What they do to a database is the subject of tests/contract/test_full_restore.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    DownstreamTasksSkipped,
    TaskAwaitingInput,
)

from include.errors import DatabaseUnreachable, RollbackBlocked
from include.steps.database.entries import LOSS_CONFIRMED, RESTORE_STATED
from include.steps.database.full_restore import must_be_confirmed_now
from include.steps.record import (
    BROUGHT_BACK,
    ROLLBACK_BLOCKED,
    ROLLBACK_CHOSEN,
    ROLLBACK_REFUSED,
    all_recorded,
    record,
)
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    REHEARSED,
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
)
from include.steps.schema_proof import SchemaFact
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.full_restore import AskRestore, ResumeApplication, restore_is_over
from stellwerk.operators.loss import places
from stellwerk.operators.rollback import BringBack, RollbackEligibility
from tests.unit.stellwerk.asked_again import asked_again
from tests.unit.steps.database.test_full_restore import a_loss
from tests.unit.steps.database.worlds import a_ledger, a_run

DAGS = Path(__file__).parents[3] / "dags"
GROUP = {f"full_restore.{name}" for name in ("state_loss", "ask", "stop", "count_again", "ask_again", "restore")}


class Instance:
    """A task instance that keeps what is pushed."""

    map_index = -1
    id = UUID(int=1)
    try_number = 1
    max_tries = 0

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
        for module in ("operators.base", "operators.loss", "operators.loss_calls", "runs"):
            monkeypatch.setattr(f"stellwerk.{module}.release_run", lambda *_, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda *_, **__: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)

        def with_helm(task: StellwerkOperator, run: ReleaseRun, step: Callable[..., Any]) -> Any:
            return task.wait_for(step(run, None, None))

        monkeypatch.setattr(StellwerkOperator, "with_helm", with_helm)


def stated(world: World, *, minutes: float = 0) -> str:
    """The digest of a loss that was counted so many minutes ago."""
    loss = a_loss({"orders": (1, 4)}, made_at=datetime.now(UTC) - timedelta(minutes=minutes))
    payload = {"digest": loss.digest, "sentences": loss.sentences, "statement": loss.model_dump_json()}
    record(world.ledger, world.run, RESTORE_STATED, payload, number=loss.digest[:16])
    return loss.digest


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
    first, world.run = world.run, replace(world.run, run_id="r2")
    by_itself = BringBack(task_id="bring_back", option="auto", reason="")
    by_itself.execute(world.context)  # the first one did not get so far that users were served
    by_itself.execute(world.context)
    world.run = first
    task.execute(world.context)
    assert asked == [("unchanged", "auto", stopped) for stopped in (True, False, True)]
    assert len(all_recorded(world.ledger, world.run, BROUGHT_BACK)) == 1


def test_a_yes_without_a_reason_restores_nothing_ends_nothing_and_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = stated(world)
    asked: list[Any] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **given: asked.append(given))
    again = asked_again(lambda: asked.append({}))
    monkeypatch.setattr("stellwerk.operators.question.upsert_hitl_detail", again)
    with pytest.raises(TaskAwaitingInput):
        AskRestore(task_id="ask").execute(world.context)
    said: dict[str, Any] = {
        "chosen_options": ["Restore"],
        "params_input": {"reason": "", "statement": digest},
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
    assert AskRestore(task_id="ask_again").execute(world.context)["by"] == "anna"
    assert len(asked) == 2


def test_another_count_is_asked_about_at_another_place_and_a_yes_to_it_is_heard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow keeps the words of a task instance's first question: cleared, it would offer the old statement."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **given: asked.append(given))
    digests = []
    for place in range(2):
        digests.append(stated(world, minutes=30 * (1 - place)))
        world.instance.map_index = place
        offered = places(world.run, world.ledger, "full_restore.state_loss", "ask")
        assert [one["over"] for one in offered] == ["yes"] * place + [""]
        with pytest.raises(TaskAwaitingInput):
            AskRestore(task_id="full_restore.ask", **offered[place]).execute(world.context)
    assert digests[0] != digests[1]
    assert [one["params"]["statement"]["value"] for one in asked] == digests
    said: dict[str, Any] = {
        "chosen_options": ["Restore"],
        "params_input": {"reason": "the data are damaged", "statement": asked[-1]["params"]["statement"]["value"]},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "anna", "name": "anna"},
    }
    AskRestore(task_id="full_restore.ask").execute_complete(world.context, said)
    must_be_confirmed_now(world.run, world.ledger, now=datetime.now(UTC))


def test_people_are_called_to_a_question_for_which_users_are_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    stated(world)
    for place, kind in enumerate((None, RESTORE_STOPPED, RESTORE_RESUMED)):
        world.instance.map_index = place
        if kind:
            record(world.ledger, world.run, kind, {})
        with pytest.raises(TaskAwaitingInput):
            AskRestore(task_id="ask_again").execute(world.context)
    assert [matter.what[:14] for matter in called] == ["users are down"]
    assert called[0].seen.endswith("what would be lost now is not confirmed"), "maybe nothing was"
    assert re.search(r"stopped since \d\d:\d\d CES?T;", called[0].seen), "the release's clock"
    assert "answer ask_again under the required actions" in called[0].remedy


def test_people_are_called_to_a_question_that_comes_back_although_users_are_not_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    stated(world)
    for times in range(2):
        with pytest.raises(TaskAwaitingInput):
            AskRestore(task_id="ask").execute(world.context)
        assert len(called) == times
    assert called[0].what == "a question about a loss has come back"
    assert called[0].seen == "it is asked again: whoever has answered before answers once more"


def test_a_no_of_people_calls_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    digest = stated(world)
    with pytest.raises(TaskAwaitingInput):
        AskRestore(task_id="ask").execute(world.context)
    said: dict[str, Any] = {
        "chosen_options": ["Leave"],
        "params_input": {"reason": "", "statement": digest},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "anna", "name": "anna"},
    }
    with pytest.raises(AirflowFailException, match="anna said Leave"):
        AskRestore(task_id="ask").execute_complete(world.context, said)
    assert called == []


def test_a_restore_is_over_when_none_of_its_tasks_is_still_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[str, dict[str, str | None]] = {
        "died": {"full_restore.restore": "failed", "full_restore.resume": "failed"},
        "waits": {"full_restore.ask_again": "deferred", "full_restore.resume": None},
        "marked": {"full_restore.restore": "failed", "full_restore.resume": "skipped"},
    }
    asked: list[Any] = []

    def get_task_states(dag_id: str, **wanted: Any) -> Any:
        asked.append((dag_id, wanted["task_group_id"]))
        return {run_id: states[run_id] for run_id in wanted["run_ids"] if run_id in states}

    place = "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states"
    monkeypatch.setattr(place, get_task_states)
    found = [restore_is_over("rollback", name) for name in ("died", "waits", "marked", "deleted")]
    assert found == [True, False, True, True]
    assert set(asked) == {("rollback", "full_restore")}


@pytest.mark.parametrize(
    ("error", "tries", "called"),
    [
        (DatabaseUnreachable("the database gives no answer"), 1, 0),
        (DatabaseUnreachable("the database gives no answer"), 6, 1),
        (RollbackBlocked("run rb1 has stopped the application"), 1, 1),
        (KeyError("name"), 6, 1),
    ],
)
def test_an_application_that_is_not_taken_up_again_calls_people_when_nobody_tries_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int, called: int
) -> None:
    matters: list[Any] = []
    monkeypatch.setattr("include.steps.page.page", lambda *given: matters.append(given[2]))
    monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
    record(world.ledger, world.run, RESTORE_STOPPED, {"sizes": {}})

    def step(*_: object) -> None:
        raise error

    monkeypatch.setattr(ResumeApplication, "step", step)
    world.instance.try_number, world.instance.max_tries = tries, 5
    for _ in range(2):
        with pytest.raises((AirflowException, KeyError)):
            ResumeApplication(task_id="resume", option="full-restore", reason="").execute(world.context)
    assert len({matter.key for matter in matters}) == called
    assert all("was not taken up: users are down" in matter.what for matter in matters)


@pytest.mark.parametrize(
    ("gate", "minutes", "wanted"), [(3600, 0, 55), (3600, 50, 5), (600, 0, 10), (600, 56, None)]
)
def test_a_question_ends_before_a_yes_would_come_too_late(
    world: World, monkeypatch: pytest.MonkeyPatch, gate: float, minutes: int, wanted: int | None
) -> None:
    roles = world.run.environment.gate.model_copy(update={"timeout_seconds": gate})
    world.run = replace(world.run, environment=world.run.environment.model_copy(update={"gate": roles}))
    stated(world, minutes=minutes)
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    monkeypatch.setattr("include.steps.page.page", lambda *_: called.append(1))
    called: list[int] = []
    ask = AskRestore(task_id="ask")
    if wanted is None:
        with pytest.raises(AirflowFailException, match="nobody is asked"):
            ask.execute(world.context)
        assert len(all_recorded(world.ledger, world.run, ROLLBACK_BLOCKED)) == 1
        assert called == []
        return
    with pytest.raises(TaskAwaitingInput):
        ask.execute(world.context)
    assert ask.response_timeout is not None
    assert round(ask.response_timeout.total_seconds() / 60) == wanted


def test_the_question_says_whether_users_are_down_and_how_long_it_takes() -> None:
    ask = AskRestore(task_id="ask")
    first = ask.text_of({"sentences": ["a"], "stopped": False, "restore_seconds": 1500.4})
    assert first.startswith("- a\n\nWith your yes the application is stopped until")
    assert "took 25 minutes when it was verified: users are down for longer" in first
    again = ask.text_of({"sentences": ["a"], "stopped": True, "restore_seconds": None})
    assert again.startswith("**The application is stopped: users are down until you answer.**\n\n- a")
    assert "Leave takes it up as it was" in again
    assert "is stopped until" not in again
    assert "took" not in again
