"""The tasks of a migration: what each hands to its step, what a kill cancels, what an answer is taken for.

What the steps do to a database is the subject of tests/contract/test_db_migration.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskAwaitingInput,
    TaskDeferred,
)
from upath import UPath

from include.backup.store import Store
from include.database.clients import Clients
from include.database.connection import Database
from include.errors import (
    ClusterUnreachable,
    DatabaseRefused,
    DatabaseUnreachable,
    LedgerUnavailable,
    MigrationBusy,
    MigrationRefused,
    PreflightFailed,
    StellwerkError,
)
from include.ledger.approvals import DECISION, GO, NO_GO
from include.steps.database.confirm import confirmation
from include.steps.database.entries import (
    LOSS_ANSWER_REFUSED,
    LOSS_CONFIRMED,
    LOSS_REFUSED,
    MIGRATION_WATCH_FAILED,
    SURVEYED,
    TRIED_OUT,
    WAY_BACK_STATED,
    WAY_BACK_UNKNOWN,
    note,
)
from include.steps.database.gate import decided_about
from include.steps.database.site import Site, site_of
from include.steps.database.way_back import way_back_unknown
from include.steps.images import IMAGE_RESOLVED, pinned
from include.steps.live_version import must_replace_what_runs
from include.steps.record import all_recorded, record, require_approval
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
)
from stellwerk.operators import database as tasks
from stellwerk.operators import way_back
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.decision import RoleDecision
from stellwerk.operators.gate import Approve, GateRoles
from stellwerk.operators.message import Announce
from stellwerk.triggers.question import CloseQuestionTrigger
from tests.unit.stellwerk.asked_again import asked_again
from tests.unit.steps.database import worlds
from tests.unit.steps.database.worlds import a_ledger, a_run


class Instance(SimpleNamespace):
    """A task instance at its last try, which keeps what is pushed."""

    def __init__(self) -> None:
        super().__init__(id=uuid4(), try_number=3, max_tries=2, map_index=0, pushed={}, xcom_pull=lambda **_: {})

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


INSTANCE = Instance()
UNASKED = "which version users are on is not known: Airflow connection kubernetes_production is not defined"
CONTEXT = cast(Any, {"task_instance": INSTANCE, "ti": INSTANCE, "params": {"mode": "apply"}})
STEPS = "include.steps.database"


class World:
    """Everything around a task: its run, its ledger, its site, and whom it asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.monkeypatch = monkeypatch
        self.run = a_run()
        self.ledger = a_ledger()
        database = Database("db", 5432, "erp", "owner", "s3cret")
        clients = Clients(Path("/usr/bin"), "16.3")
        self.site: Site = site_of(self.run, database, Store(UPath(str(folder))), clients, None)
        self.asked: list[dict[str, Any]] = []
        for module in ("base", "way_back", "loss", "loss_calls", "decision"):
            monkeypatch.setattr(f"stellwerk.operators.{module}.release_run", self.release_run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        monkeypatch.setattr("stellwerk.hooks.database.open_site", lambda _: self.site)
        monkeypatch.setattr("include.steps.page.page", lambda *_: True)
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **asked: self.asked.append(asked))
        self.reopened = 0
        monkeypatch.setattr("stellwerk.operators.question.upsert_hitl_detail", asked_again(self.reopen))

    def called(self) -> list[Any]:
        """What people are called for from now on."""
        found: list[Any] = []
        self.monkeypatch.setattr("include.steps.page.page", lambda *given: found.append(given[2]) or True)
        return found

    def over(self) -> None:
        """Every deadline is over."""
        self.monkeypatch.setattr("include.gate.timing.Wait.is_over", lambda *_: True)

    def reopen(self) -> None:
        self.reopened += 1

    def release_run(self, _: object, *, with_digest: bool = True, **_more: object) -> ReleaseRun:
        return pinned(self.run, self.ledger) if with_digest else self.run

    def step(self, function: str, result: object = None) -> list[tuple[Any, ...]]:
        """Replace a step; returns the list that its calls go to."""
        calls: list[tuple[Any, ...]] = []

        def called(*arguments: Any, **named: Any) -> object:
            calls.append((*arguments, *(value for name, value in named.items() if name != "now")))
            if isinstance(result, Exception):
                raise result
            return result

        self.monkeypatch.setattr(f"{STEPS}.{function}", called)
        return calls

    def surveyed(self) -> None:
        note(self.ledger, self.run, SURVEYED, worlds.SURVEYED)
        note(self.ledger, self.run, TRIED_OUT, worlds.TRIED)

    def state(self, digest: str) -> None:
        note(self.ledger, self.run, WAY_BACK_STATED, {"digest": digest, "text": "3 values are lost"})

    def count(self, kind: str) -> int:
        return len(all_recorded(self.ledger, self.run, kind))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("task", "step", "more"),
    [
        (tasks.Survey(task_id="t"), "look.look", ((UNASKED,),)),
        (tasks.BackUp(task_id="t", purpose="safety"), "backup.take", ("safety",)),
        (tasks.VerifyBackup(task_id="t", purpose="rehearsal"), "backup.prove", ("rehearsal",)),
        (tasks.VerifyMigrated(task_id="t"), "apply.verify_migrated", ()),
        (tasks.RetainBackups(task_id="t"), "backup.retain", ()),
    ],
)
def test_a_task_does_its_step_with_run_site_and_ledger(
    world: World, task: StellwerkOperator, step: str, more: tuple[str, ...]
) -> None:
    calls = world.step(step, {"what": "was done"})
    assert task.execute(CONTEXT) == {"what": "was done"}
    assert calls == [(world.run, world.site, world.ledger, *more)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(DatabaseUnreachable("gone"), AirflowException), (MigrationRefused("changed"), AirflowFailException)],
)
def test_what_may_pass_is_tried_again_and_what_is_refused_is_not(
    world: World, error: StellwerkError, kind: type[Exception]
) -> None:
    world.step("look.look", error)
    with pytest.raises(AirflowException, match=str(error)) as failed:
        tasks.Survey(task_id="survey").execute(CONTEXT)
    assert type(failed.value) is kind


def test_nothing_is_surveyed_for_a_version_that_users_are_not_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, survey = world.step("look.look"), tasks.Survey(task_id="survey")
    asked: list[Any] = []

    def with_helm_if_any(run: ReleaseRun, step: Callable[..., Any]) -> tuple[str, ...]:
        asked.append(step)
        if len(asked) == 3:
            return ("whether that is 2.9.0 cannot be told",)
        raise PreflightFailed("users are on 2.9.1") if len(asked) == 1 else ClusterUnreachable("no answer")

    monkeypatch.setattr(survey, "with_helm_if_any", with_helm_if_any)
    with pytest.raises(AirflowFailException, match=r"users are on 2\.9\.1"):
        survey.execute(CONTEXT)
    assert (asked, looked) == ([must_replace_what_runs], [])
    survey.execute(CONTEXT)
    survey.execute(CONTEXT)
    assert [beside for *_, beside in looked] == [
        ("which version users are on is not known: no answer",),
        ("whether that is 2.9.0 cannot be told",),
    ], "it is no objection, and those who decide are told"


# -- killed --------------------------------------------------------------------------------------------------


def _rehearsing(run: ReleaseRun, site: Site, ledger: object, trying: Any) -> Callable[[Any], Any]:
    return cast("Callable[[Any], Any]", trying.started)


def _started(run: ReleaseRun, site: Site, ledger: object, *, started: Callable[[Any], Any], **_: object) -> Any:
    return started


@pytest.mark.parametrize(
    ("task", "step", "started"),
    [
        (tasks.Rehearse(task_id="t"), "rehearse.rehearse", _rehearsing),
        (tasks.Migrate(task_id="t"), "apply.migrate", _started),
        (way_back.TakeBack(task_id="t"), "way_back.take_back", _started),
    ],
)
def test_killed_it_cancels_the_migration_that_runs_at_that_moment(
    world: World, task: StellwerkOperator, step: str, started: Any
) -> None:
    task.on_kill()  # before it has begun there is nothing to cancel
    cancelled: list[str] = []

    def run(*arguments: Any, **named: Any) -> dict[str, Any]:
        tell = started(*arguments, **named)
        for way in ("up", "down"):
            tell(SimpleNamespace(cancel=lambda way=way: cancelled.append(way)))
        task.on_kill()
        return {"applied": False}

    world.monkeypatch.setattr(f"{STEPS}.{step}", run)
    task.execute(CONTEXT)
    assert cancelled == ["down"]


def test_the_old_versions_suite_is_the_plans(world: World) -> None:
    trying = world.step("rehearse.rehearse")
    tasks.Rehearse(task_id="rehearse").execute(CONTEXT)
    assert trying[0][3].old_version is None
    world.run = a_run(rehearsal={"old_version": {"program": ["/suites/{version}", "--quick"]}})
    world.site = replace(world.site, plan=world.run.environment.database)
    suites: list[list[str]] = []
    world.monkeypatch.setattr(f"{STEPS}.old_version.run_suite", lambda argv, *_, **__: suites.append(argv))
    tasks.Rehearse(task_id="rehearse").execute(CONTEXT)
    trying[1][3].old_version(world.site.database)
    assert suites == [[f"/suites/{world.run.release.previous}", "--quick"]]


# -- modes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(tasks.MODES))
def test_a_run_goes_as_far_as_its_mode_says(world: World, mode: str) -> None:
    context = cast(Any, {"params": {"mode": mode}})
    for modes in (("rehearse", "apply"), ("apply",)):
        task = tasks.OnlyInMode(task_id="goes_on", modes=modes)
        if mode in modes:
            assert task.execute(context) == mode
        else:
            with pytest.raises(AirflowSkipException, match=f"mode {mode}: "):
                task.execute(context)


@pytest.mark.parametrize("params", [{"mode": "APPLY"}, {}])
def test_a_mode_that_there_is_not_is_refused(world: World, params: dict[str, str]) -> None:
    with pytest.raises(AirflowFailException, match="there is no mode"):
        tasks.OnlyInMode(task_id="applies", modes=("apply",)).execute(cast(Any, {"params": params}))


# -- the way back --------------------------------------------------------------------------------------------


def test_where_the_migration_was_left_is_recorded_before_the_way_back_is_stated(world: World) -> None:
    record(world.ledger, world.run, MIGRATION_INTENDED, {})
    done: list[str] = []
    stated = {"needed": True, "digest": "d1", "text": "3 values are lost"}
    world.monkeypatch.setattr(f"{STEPS}.apply.gave_up", lambda *_: done.append("looked"))
    world.monkeypatch.setattr(f"{STEPS}.way_back.state_way_back", lambda *_, **__: done.append("stated") or stated)
    offered = way_back.StateWayBack(task_id="state", asks="ask").execute(CONTEXT)
    assert offered == [{"role": "database", "over": ""}]
    assert done == ["looked", "stated"]


@pytest.mark.parametrize(
    ("task", "step"),
    [
        (way_back.StateWayBack(task_id="state", asks="ask"), "way_back.state_way_back"),
        (way_back.TakeBack(task_id="take_back"), "way_back.take_back"),
        (tasks.Migrate(task_id="migrate"), "apply.migrate"),
    ],
)
def test_whoever_changes_the_schema_asks_who_has_the_traffic(world: World, task: Any, step: str) -> None:
    record(world.ledger, world.run, MIGRATION_INTENDED, {})
    world.step("apply.gave_up")
    answers: list[object] = []

    def taken(*_: object, traffic: Callable[[], object], **__: object) -> dict[str, bool]:
        task._cancel = "of the migration"
        answers.append(traffic())
        assert task._cancel == "of the migration", "a killed task cancels the migration, not the question"
        return {"needed": True, "applied": False}

    def cluster(found: object) -> Callable[..., object]:
        def ask(*_: object) -> object:
            task._cancel = "of the question"
            if isinstance(found, Exception):
                raise found
            return found

        return ask

    world.monkeypatch.setattr(f"{STEPS}.{step}", taken)
    for found in ("the Service", ClusterUnreachable("no answer")):
        world.monkeypatch.setattr(StellwerkOperator, "with_cluster", cluster(found))
        task.execute(CONTEXT)
    assert answers == ["the Service", None]


def test_where_there_is_nothing_to_take_back_nobody_is_asked(world: World) -> None:
    record(world.ledger, world.run, MIGRATION_INTENDED, {})
    world.step("apply.gave_up")
    world.step("way_back.state_way_back", {"needed": False, "text": "no migration is in the database"})
    with pytest.raises(AirflowSkipException, match="no migration is in the database"):
        way_back.StateWayBack(task_id="state", asks="ask").execute(CONTEXT)


def test_what_an_earlier_run_has_migrated_is_not_offered_by_one_that_has_not_begun(world: World) -> None:
    record(world.ledger, a_run("earlier"), MIGRATION_INTENDED, {})
    looked = world.step("apply.gave_up")
    with pytest.raises(AirflowSkipException, match="has not begun to migrate"):
        way_back.StateWayBack(task_id="state", asks="ask").execute(CONTEXT)
    assert looked == []


INTENT = {"current": ["b"], "target": ["c"], "backup": "b1"}


@pytest.mark.parametrize(
    ("error", "tries", "kind"),
    [
        (DatabaseUnreachable("no answer"), 1, AirflowException),
        (DatabaseUnreachable("no answer"), 3, AirflowSkipException),
        (DatabaseRefused("wrong password"), 1, AirflowSkipException),
        (MigrationRefused("there is no way down"), 3, AirflowFailException),
    ],
)
def test_where_the_database_does_not_tell_the_way_back_is_not_known_and_people_are_called(
    world: World, error: StellwerkError, tries: int, kind: type[Exception]
) -> None:
    record(world.ledger, world.run, MIGRATION_INTENDED, INTENT)
    world.step("apply.gave_up", error)
    called: list[Any] = []
    world.monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    world.monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
    context = cast(Any, {"ti": SimpleNamespace(try_number=tries, max_tries=2), "params": {}})
    with pytest.raises(AirflowException, match=error.what) as ended:
        way_back.StateWayBack(task_id="state", asks="ask").execute(context)
    assert type(ended.value) is kind
    said = all_recorded(world.ledger, world.run, WAY_BACK_UNKNOWN)
    assert (len(said), len(called)) == (kind is AirflowSkipException, kind is not AirflowException)
    for text in (str(ended.value), called[0].what + called[0].seen + called[0].remedy) if said else ():
        assert "NOT KNOWN" in text
        assert "began at revisions b, towards c; how far it came is not recorded; backup b1" in text
        assert "clear way_back.state" in text


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (MigrationRefused("there is no way down"), 1),
        (MigrationBusy("another migration is running"), 3),
        (LedgerUnavailable("the ledger gives no answer"), 3),
        (KeyError("name"), 3),
    ],
)
@pytest.mark.parametrize("ledger", [True, False])
def test_where_nobody_can_be_asked_people_are_called_when_nobody_tries_any_more(
    world: World, error: Exception, tries: int, *, ledger: bool
) -> None:
    record(world.ledger, world.run, MIGRATION_INTENDED, INTENT)

    def looked(*_: object) -> None:
        if not ledger:
            world.monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", out)
        raise error

    def out(_: object) -> Any:
        raise LedgerUnavailable("the ledger gives no answer")

    world.monkeypatch.setattr(f"{STEPS}.apply.gave_up", looked)
    called: list[Any] = []
    world.monkeypatch.setattr("include.steps.page.page", lambda *given: called.append(given[2]))
    for attempt in range(1, tries + 1):
        assert called == []
        context = cast(Any, {"ti": SimpleNamespace(try_number=attempt, max_tries=2), "params": {}})
        with pytest.raises((AirflowException, KeyError)):
            way_back.StateWayBack(task_id="state", asks="ask").execute(context)
    [matter] = called
    assert "nobody is asked whether to take the schema back" in matter.what
    assert "read the log of state" in matter.remedy


def test_what_the_running_version_fails_on_is_offered_by_the_run_that_has_seen_it(world: World) -> None:
    record(world.ledger, a_run("earlier"), MIGRATION_INTENDED, INTENT)
    record(world.ledger, world.run, MIGRATION_WATCH_FAILED, {"number": 0, "migrated": 1})
    world.step("way_back.state_way_back", {"needed": True, "text": "3 values are lost"})
    assert way_back.StateWayBack(task_id="state", asks="ask").execute(CONTEXT)


def test_people_are_called_to_the_question_about_the_schema_once_for_each_question(world: World) -> None:
    called = world.called()
    for place, digest in enumerate(("d1", "d1", "d2")):
        world.state(digest)
        asking(world, place)
    waits = ["way-back-waits:d1", "way-back-waits:d1:1", "way-back-waits:d2:2"]
    assert [matter.key for matter in called] == waits
    assert "people decide whether to take the schema back" in called[0].what
    assert called[0].seen == "3 values are lost"
    assert "answer ask under the required actions; without an answer in 60 minutes" in called[0].remedy


def test_people_are_called_anew_to_a_question_that_comes_back(world: World) -> None:
    """Whoever had answered takes it for done: the worker died before the answer was recorded."""
    called = world.called()
    world.state("d1")
    for _ in range(2):
        asking(world)
    assert [matter.key for matter in called] == ["way-back-waits:d1", "way-back-waits:d1:try3"]
    assert "whoever has answered before answers once more" in called[1].seen


@pytest.mark.parametrize("tries", [3, 2])
def test_people_are_called_where_the_question_fails_for_good(world: World, tries: int) -> None:
    called = world.called()
    world.state("d1")
    context = at(0)
    context["ti"].try_number = tries
    world.step("confirm.may_confirm", LedgerUnavailable("no answer"))
    with pytest.raises(AirflowException, match="no answer"):
        way_back.AskTakeBack(task_id="ask").execute(context)
    assert [matter.what for matter in called] == (
        ["ask has failed: nobody is asked about a loss, or heard"] if tries == 3 else []
    )


def test_what_is_recorded_of_the_migration_is_known_without_the_database(world: World) -> None:
    why = DatabaseUnreachable("no answer")
    began = record(world.ledger, world.run, MIGRATION_INTENDED, INTENT)
    record(world.ledger, world.run, MIGRATED, {})
    applied = way_back_unknown(world.run, world.ledger, why)["seen"]
    assert "it is recorded as applied; backup b1" in applied
    record(world.ledger, world.run, WAY_BACK_INTENDED, {"began": began.sequence})
    assert "taking it back has begun" in way_back_unknown(world.run, world.ledger, why)["seen"]
    record(world.ledger, world.run, TAKEN_BACK, {})
    assert "has been undone" in way_back_unknown(world.run, world.ledger, why)["seen"]


def test_where_nothing_was_begun_nothing_is_opened(world: World) -> None:
    def refused(_: object) -> Any:
        raise DatabaseRefused("no such connection")

    world.monkeypatch.setattr("stellwerk.hooks.database.open_site", refused)
    with pytest.raises(AirflowSkipException, match="has not begun to migrate"):
        way_back.StateWayBack(task_id="state", asks="ask").execute(CONTEXT)


def answer(choice: str, statement: str, *, by: str | None = "anna", reason: str = "the outage is worse") -> Any:
    return {
        "chosen_options": [choice],
        "params_input": {"reason": reason, "statement": statement},
        "responded_at": datetime(2030, 5, 1, 9, tzinfo=UTC),
        "responded_by_user": {"id": by, "name": by} if by else None,
        "timedout": by is None,
    }


def at(place: int) -> Any:
    """The context of a task at one of the places where it is asked."""
    instance = Instance()
    instance.map_index = place
    return {**CONTEXT, "task_instance": instance, "ti": instance}


def asking(world: World, place: int = 0) -> way_back.AskTakeBack:
    """A task that has asked about the newest statement."""
    task = way_back.AskTakeBack(task_id="ask")
    with pytest.raises(TaskAwaitingInput) as waiting:
        task.execute(at(place))
    assert waiting.value.timeout is not None
    return way_back.AskTakeBack(task_id="ask")  # it is resumed by another process


def test_those_who_decide_about_migrations_are_shown_what_is_lost(world: World) -> None:
    world.state("d1")
    asking(world)
    [asked] = world.asked
    assert [user["id"] for user in asked["assigned_users"]] == ["anna", "bo"]
    assert (asked["options"], asked["defaults"]) == ([way_back.TAKE, way_back.KEEP], None)
    assert "3 values are lost" in asked["body"]
    assert asked["params"]["statement"]["value"] == "d1"
    assert asked["params"]["statement"]["schema"]["enum"] == ["d1"]


def test_nobody_is_asked_about_what_was_not_stated(world: World) -> None:
    with pytest.raises(AirflowFailException, match="nobody was shown"):
        way_back.AskTakeBack(task_id="ask").execute(CONTEXT)
    assert world.asked == []


def test_a_yes_is_about_the_statement_that_was_shown(world: World) -> None:
    world.state("d1")
    task = asking(world)
    world.state("d2")
    said = task.execute_complete(CONTEXT, answer(way_back.TAKE, "d1"))
    assert said == {"digest": "d1", "by": "anna", "reason": "the outage is worse"}
    (entry,) = all_recorded(world.ledger, world.run, LOSS_CONFIRMED)
    assert (entry.payload["digest"], entry.actor, entry.at) == ("d1", "anna", datetime(2030, 5, 1, 9, tzinfo=UTC))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (answer(way_back.TAKE, "d1", by="carl"), "carl may not confirm"),
        (answer(way_back.TAKE, "d1", by=None), "nobody may not confirm"),
        (answer(way_back.TAKE, "made up"), "nobody was shown"),
    ],
)
def test_a_yes_of_others_or_about_something_else_is_none(world: World, given: Any, why: str) -> None:
    world.state("d1")
    task = asking(world)
    with pytest.raises(AirflowFailException, match=why):
        task.execute_complete(CONTEXT, given)
    assert world.count(LOSS_CONFIRMED) == 0


@pytest.mark.parametrize(
    ("fields", "lacking"),
    [
        ({"reason": " ", "statement": "d1"}, "a reason"),
        ({"reason": None, "statement": "d1"}, "a reason"),
        ({"statement": "d1"}, "a reason"),
        ({"reason": "the outage is worse"}, "its statement"),
        ({}, "a reason and its statement"),
        (None, "a reason and its statement"),
    ],
)
def test_a_yes_without_a_reason_or_its_statement_is_asked_for_again(
    world: World, fields: dict[str, str] | None, lacking: str
) -> None:
    world.state("d1")
    task, instance = asking(world), Instance()
    context = cast(Any, {**CONTEXT, "task_instance": instance, "ti": instance})
    given = {**answer(way_back.TAKE, "d1"), "params_input": fields}
    with pytest.raises(TaskAwaitingInput) as waiting:
        task.execute_complete(context, given)
    assert waiting.value.timeout is not None
    assert f"without {lacking}" in instance.pushed["asked_again"]
    assert "needs a reason; without one the question comes back" in world.asked[0]["body"]
    assert world.reopened == 1
    assert world.count(LOSS_CONFIRMED) == 0
    (refused,) = all_recorded(world.ledger, world.run, LOSS_ANSWER_REFUSED)
    assert (refused.actor, refused.at) == ("anna", datetime(2030, 5, 1, 9, tzinfo=UTC))
    said = way_back.AskTakeBack(task_id="ask").execute_complete(context, answer(way_back.TAKE, "d1"))
    assert said["by"] == "anna"
    assert world.count(LOSS_CONFIRMED) == 1


def test_what_cannot_be_recorded_of_an_incomplete_yes_keeps_nobody_from_being_asked(world: World) -> None:
    world.state("d1")
    task = asking(world)
    world.step("confirm.record_incomplete", LedgerUnavailable("no answer"))
    with pytest.raises(TaskAwaitingInput):
        task.execute_complete(CONTEXT, answer(way_back.TAKE, "d1", reason=""))
    assert world.reopened == 1


SILENCE = {"error": "The timeout has passed", "error_type": "timeout"}


@pytest.mark.parametrize(
    ("given", "by"),
    [
        (answer(way_back.KEEP, "d1"), "anna"),
        ({**answer(way_back.KEEP, "d1"), "params_input": None}, "anna"),
        (SILENCE, "stellwerk"),
    ],
)
def test_a_no_and_silence_keep_the_schema_and_take_back_an_earlier_yes(world: World, given: Any, by: str) -> None:
    world.state("d1")
    asking(world).execute_complete(CONTEXT, answer(way_back.TAKE, "d1", by="bo"))
    assert confirmation(world.ledger, world.run, "d1") is not None
    world.over()
    with pytest.raises(AirflowSkipException, match="the schema is kept"):
        asking(world, 1).execute_complete(at(1), given)
    assert confirmation(world.ledger, world.run, "d1") is None
    (refused,) = all_recorded(world.ledger, world.run, LOSS_REFUSED)
    assert refused.actor == by


def test_a_yes_after_a_no_counts_also_by_the_same_person(world: World) -> None:
    world.state("d1")
    for place, choice in enumerate((way_back.TAKE, way_back.KEEP, way_back.TAKE)):
        given = {**answer(choice, "d1"), "responded_at": datetime(2030, 5, 1, 9 + place, tzinfo=UTC)}
        with suppress(AirflowSkipException):
            asking(world, place).execute_complete(at(place), given)
    assert confirmation(world.ledger, world.run, "d1") is not None


def test_what_is_stated_anew_is_asked_anew_with_its_own_words_at_a_place_of_its_own(world: World) -> None:
    """Airflow keeps the words of a task instance's first question, also when it is cleared."""
    record(world.ledger, world.run, MIGRATION_INTENDED, {})
    world.step("apply.gave_up")
    state = way_back.StateWayBack(task_id="way_back.state", asks="ask")
    task = partial(way_back.AskTakeBack, task_id="way_back.ask")
    shown = []
    for place, digest in enumerate(("d1", "d2")):
        world.step("way_back.state_way_back", {"needed": True, "text": "rows are lost"})
        note(world.ledger, world.run, WAY_BACK_STATED, {"digest": digest, "text": f"{place + 3} values are lost"})
        offered = state.execute(CONTEXT)
        assert [one["over"] for one in offered] == ["yes"] * place + [""]
        with pytest.raises(TaskAwaitingInput):
            task(**offered[place]).execute(at(place))
        shown.append(world.asked[-1])
    assert ["3 values are lost" in shown[0]["body"], "4 values are lost" in shown[1]["body"]] == [True, True]
    assert [one["params"]["statement"]["value"] for one in shown] == ["d1", "d2"]
    with pytest.raises(AirflowFailException, match="clear the task that states the loss"):
        task().execute(at(0))
    with pytest.raises(TaskDeferred) as closing:
        task(**offered[0]).execute(at(0))
    assert isinstance(closing.value.trigger, CloseQuestionTrigger), "nobody is to answer into the void"
    assert task().execute_complete(at(1), answer(way_back.TAKE, "d2"))["digest"] == "d2"
    assert confirmation(world.ledger, world.run, "d2") is not None


def test_a_yes_whose_task_was_killed_before_its_end_stands_and_is_not_asked_for_again(world: World) -> None:
    world.state("d1")
    asking(world).execute_complete(at(0), answer(way_back.TAKE, "d1"))
    assert way_back.AskTakeBack(task_id="ask").execute(at(0))["by"] == "anna"
    assert len(world.asked) == 1
    asking(world, 1)
    assert len(world.asked) == 2, "who clears the statement is asked, whatever was said before"


def later(kept: dict[str, Any], minutes: float) -> dict[str, str]:
    """What a look is resumed with that follows so many minutes after the one before."""
    moments = {name: datetime.fromisoformat(at) for name, at in kept.items()}
    return {name: (at - timedelta(minutes=minutes)).isoformat() for name, at in moments.items()}


def test_an_answer_that_cannot_be_recorded_is_held_and_people_hear_of_it_after_two_minutes(world: World) -> None:
    world.state("d1")
    task, called = asking(world), world.called()
    world.monkeypatch.setattr("stellwerk.operators.question.sleep", lambda _: None)
    world.step("confirm.refuse", LedgerUnavailable("no answer"))
    kept: dict[str, Any] = {}
    for minutes, told in ((0, 0), (1, 0), (2, 1), (17, 1)):
        with pytest.raises(TaskAwaitingInput) as held:
            task.execute_complete(CONTEXT, answer(way_back.KEEP, "d1"), **later(kept, minutes))
        kept = held.value.kwargs or {}
        assert len(called) == told
    assert world.reopened == 0, "Airflow still holds the answer"
    assert re.search(r"ask holds the answer until \d\d:\d\d CES?T, then asks again", called[0].remedy)
    kept["since"] = (datetime.now(UTC) - timedelta(minutes=31)).isoformat()
    with pytest.raises(AirflowException, match="LedgerUnavailable") as failed:
        task.execute_complete(CONTEXT, answer(way_back.KEEP, "d1"), **kept)
    assert type(failed.value) is AirflowException, "the task is tried again, which asks again"


def test_where_nobody_could_be_called_it_is_tried_again_every_minute(world: World) -> None:
    world.state("d1")
    task, tried = asking(world), []
    world.monkeypatch.setattr("include.steps.page.page", lambda *given: tried.append(given) or len(tried) > 2)
    world.monkeypatch.setattr("stellwerk.operators.question.sleep", lambda _: None)
    world.step("confirm.refuse", LedgerUnavailable("no answer"))
    kept: dict[str, Any] = {}
    for minutes, calls in ((0.0, 0), (3, 1), (0.2, 1), (1, 2), (1, 3), (1, 3), (10, 3)):
        with pytest.raises(TaskAwaitingInput) as held:
            task.execute_complete(CONTEXT, answer(way_back.KEEP, "d1"), **later(kept, minutes))
        kept = held.value.kwargs or {}
        assert len(tried) == calls


@pytest.mark.parametrize("by", ["carl", None])
def test_people_are_called_where_an_answer_ends_the_question_and_counts_for_nothing(
    world: World, by: str | None
) -> None:
    world.state("d1")
    task, called = asking(world), world.called()
    with pytest.raises(AirflowFailException):
        task.execute_complete(CONTEXT, answer(way_back.TAKE, "d1", by=by))
    assert "may not confirm" in called[0].seen
    assert "clear the task that states the loss" in called[0].remedy


# -- the gate ------------------------------------------------------------------------------------------------


def given_at_gate(world: World, by: str, choice: str = GO, **form: str) -> Any:
    """The answer to the question that was asked last, with what its form shows."""
    shown = {"comment": "fine", "fingerprint": world.asked[-1]["params"]["fingerprint"]["value"]}
    given = {"params_input": {**shown, **form}, "responded_at": datetime.now(UTC)}
    return {**answer(choice, "", by=by), **given}


def test_the_migrations_gate_asks_its_own_roles_and_its_go_is_what_the_migration_looks_for(world: World) -> None:
    """Also where another DAG's preflight has bound the run to the digest of an image."""
    reference = world.run.release.image.reference
    record(world.ledger, world.run, IMAGE_RESOLVED, {"reference": reference, "digest": "sha256:" + "1" * 64})
    world.surveyed()
    roles = GateRoles(task_id="roles", asks="decide", about="migration").execute(CONTEXT)
    assert roles == [{"role": "technical-lead", "over": ""}, {"role": "on-call-lead", "over": ""}]
    approve = Approve(task_id="approve", about="migration")
    for place, (given, user) in enumerate(zip(roles, ("anna", "bo"), strict=True)):
        context = cast(Any, {**CONTEXT, "ti": SimpleNamespace(map_index=place, id=uuid4())})
        context["task_instance"] = context["ti"]
        with pytest.raises(AirflowFailException, match="ApprovalMissing"):
            approve.execute(CONTEXT)
        task = RoleDecision(task_id="decide", evidence_from="", about="migration", **given)
        with pytest.raises(TaskAwaitingInput):
            task.execute(context)
        assert task.execute_complete(context, given_at_gate(world, user))["choice"] == GO
    assert "rehearsed up in 2.0 s" in world.asked[0]["body"]
    assert [user["id"] for user in world.asked[1]["assigned_users"]] == ["bo"]
    assert approve.execute(CONTEXT)["people"] == ["anna", "bo"]
    seen: list[ReleaseRun] = []
    world.monkeypatch.setattr(
        f"{STEPS}.apply.migrate", lambda run, *_, **__: seen.append(run) or {"applied": False}
    )
    tasks.Migrate(task_id="migrate").execute(CONTEXT)
    assert require_approval(world.ledger, decided_about(seen[0], world.ledger)).people == ("anna", "bo")


def asked_at_gate(**about: Any) -> RoleDecision:
    """A task that has asked the technical lead."""
    named = {"task_id": "decide", "evidence_from": "preflight", "role": "technical-lead", **about}
    with pytest.raises(TaskAwaitingInput):
        RoleDecision(**named).execute(CONTEXT)
    return RoleDecision(**named)  # it is resumed by another process


@pytest.mark.parametrize("choice", [GO, NO_GO])
@pytest.mark.parametrize("about", ["migration", "release"])
def test_an_answer_is_to_what_was_shown_whatever_has_changed_while_the_question_was_open(
    world: World, about: str, choice: str
) -> None:
    world.surveyed()
    task = asked_at_gate(about=about)
    given = given_at_gate(world, "anna", choice)
    shown = given["params_input"]["fingerprint"]
    assert world.asked[-1]["params"]["fingerprint"]["schema"]["enum"] == [shown]
    if about == "migration":  # somebody clears the rehearsal
        note(world.ledger, world.run, TRIED_OUT, {**worlds.TRIED, "id": "f" * 16})
    else:  # somebody edits the plan
        watch = world.run.environment.watch.model_copy(update={"seconds": 60})
        world.run = replace(world.run, environment=world.run.environment.model_copy(update={"watch": watch}))
    if choice == NO_GO:
        with pytest.raises(AirflowFailException, match="No-Go of technical-lead"):
            task.execute_complete(CONTEXT, given)
    else:
        assert task.execute_complete(CONTEXT, given)["choice"] == GO
        with pytest.raises(AirflowFailException, match="something that was approved has changed"):
            Approve(task_id="approve", about=about).execute(CONTEXT)
    (entry,) = all_recorded(world.ledger, world.run, DECISION)
    assert (entry.payload["choice"], entry.payload["fingerprint"]) == (choice, shown)


def test_the_last_question_of_a_gate_fails_when_what_it_showed_has_changed(world: World) -> None:
    world.surveyed()
    task = asked_at_gate(about="migration", again=True)
    given = given_at_gate(world, "anna")
    note(world.ledger, world.run, TRIED_OUT, {**worlds.TRIED, "id": "f" * 16})
    with pytest.raises(AirflowFailException, match="what was asked about has changed"):
        task.execute_complete(CONTEXT, given)


def test_an_answer_about_a_rehearsal_that_is_not_there_any_more_is_kept_all_the_same(world: World) -> None:
    world.surveyed()
    task = asked_at_gate(about="migration")
    given = given_at_gate(world, "anna", NO_GO)
    note(world.ledger, world.run, SURVEYED, {**worlds.SURVEYED, "digest": "e" * 64})
    with pytest.raises(AirflowFailException, match="the rehearsal is of another migration"):
        task.execute_complete(CONTEXT, given)
    (entry,) = all_recorded(world.ledger, world.run, DECISION)
    assert (entry.actor, entry.payload["choice"]) == ("anna", NO_GO)


@pytest.mark.parametrize("given", [{"by": "carl"}, {"by": "bo"}, {"by": "anna", "fingerprint": "made up"}])
def test_a_go_that_would_not_count_is_none_either_where_the_rehearsal_is_not_there_any_more(
    world: World, given: dict[str, str]
) -> None:
    world.surveyed()
    task = asked_at_gate(about="migration")
    said = given_at_gate(world, **given)
    note(world.ledger, world.run, SURVEYED, {**worlds.SURVEYED, "digest": "e" * 64})
    with pytest.raises(AirflowFailException, match="the rehearsal is of another migration"):
        task.execute_complete(CONTEXT, said)
    assert world.count(DECISION) == 0


def test_a_go_that_does_not_say_what_was_shown_is_asked_again(world: World) -> None:
    world.surveyed()
    task = asked_at_gate(about="migration")
    with pytest.raises(TaskAwaitingInput):
        task.execute_complete(CONTEXT, {**given_at_gate(world, "anna"), "params_input": {}})
    assert "without what was shown" in INSTANCE.pushed["asked_again"]
    assert world.count(DECISION) == 0


def test_a_failure_of_what_was_never_announced_is_told_to_nobody(world: World) -> None:
    world.monkeypatch.setattr("stellwerk.notifiers.transport.transports", lambda *_: {})
    with pytest.raises(AirflowSkipException, match="nothing to tell"):
        Announce(task_id="announce_failure", event="migration-failed").execute(
            cast(Any, {**CONTEXT, "ti": SimpleNamespace(try_number=1)})
        )
