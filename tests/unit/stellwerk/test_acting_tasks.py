"""Every task that acts looks for a Go itself: without one, with a void one or an old one it touches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.exceptions import AirflowException

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.bluegreen.state import ServiceState
from include.errors import RestoreUnconfirmed
from include.ledger.approvals import GO, NO_GO, Choice
from include.ledger.store import Ledger
from include.steps import adoption
from include.steps.database import apply
from include.steps.database.confirm import confirm, refuse
from include.steps.database.entries import RESTORE_STATED, SURVEYED, TRIED_OUT, note
from include.steps.database.full_restore import restore_fully
from include.steps.database.gate import decided_about
from include.steps.decided import release_decided
from include.steps.gate import record_decision
from include.steps.record import DEPLOYED, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import MIGRATION_INTENDED
from stellwerk.operators.adoption import Adopt
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.database import Migrate
from stellwerk.operators.full_restore import RestoreDatabase
from stellwerk.operators.release import CleanUp, Cutover, DeployIdleSlot
from stellwerk.operators.staging import Authorise
from stellwerk.operators.way_back import TakeBack
from tests.unit.steps.database import worlds
from tests.unit.steps.database.worlds import a_ledger, a_run
from tests.unit.steps.watching import release_run, verified

NOW = datetime.now(UTC)
CONTEXT = cast(Any, {"ti": None, "params": {}})


class Untouched:
    """What nothing may be done with that nobody has approved."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"touched: {name}")


class Cluster:
    """It tells of its traffic Service, and of nothing else."""

    def __init__(self, service: ServiceState | None = None) -> None:
        self.shown = service

    async def service(self, _: str) -> ServiceState | None:
        return self.shown

    def __getattr__(self, name: str) -> Any:
        raise Passed(name)


class Passed(Exception):
    """The task went beyond its approval."""


class World:
    """A release that is verified, and whose tasks have a cluster that is only looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.ledger = release_run(), a_ledger()
        self.cluster = Cluster()
        verified(self.ledger, self.run)
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda _, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        for name in ("with_helm", "with_metrics"):
            monkeypatch.setattr(
                StellwerkOperator, name, lambda _, run, step: asyncio.run(step(run, self.cluster, Untouched()))
            )

        async def assess(*_: Any) -> Any:
            return SimpleNamespace(done=False, legacy=Untouched(), facts=())

        monkeypatch.setattr(adoption, "assess", assess)

    def decide(
        self, choice: Choice = GO, at: datetime = NOW, shown: str | None = None, of: dict[str, str] | None = None
    ) -> None:
        """Have every role decide about the run, or about another one."""
        run = replace(release_decided(self.run, self.ledger), **cast(Any, of or {}))
        decide(self.ledger, run, choice, at, shown)


def decide(
    ledger: Ledger, run: ReleaseRun, choice: Choice = GO, at: datetime = NOW, shown: str | None = None
) -> None:
    for role, (user, *_) in run.environment.gate.roles.items():
        record_decision(ledger, run, role=role, choice=choice, user=user, at=at, comment="", shown=shown)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


FORWARD = (DeployIdleSlot, Adopt, Cutover)
ACTING = (*FORWARD, CleanUp)


@pytest.mark.parametrize("task", ACTING)
def test_without_a_go_nothing_is_touched(world: World, task: type[StellwerkOperator]) -> None:
    world.cluster = cast(Any, Untouched())
    with pytest.raises(AirflowException, match="no Go from technical-lead"):
        task(task_id="t").execute(CONTEXT)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda world: world.decide(NO_GO), "technical-lead said No-Go"),
        (lambda world: world.decide(shown="f" * 64), "something that was approved has changed"),
        (lambda world: world.decide(of={"run_id": "r0"}), "no Go from technical-lead"),
        (lambda world: world.decide(of={"phase": "db-migration"}), "no Go from technical-lead"),
    ],
)
@pytest.mark.parametrize("task", ACTING)
def test_with_a_no_go_or_one_for_something_else_nothing_is_touched(
    world: World, task: type[StellwerkOperator], said: Callable[[World], None], why: str
) -> None:
    said(world)
    world.cluster = cast(Any, Untouched())
    with pytest.raises(AirflowException, match=why):
        task(task_id="t").execute(CONTEXT)


@pytest.mark.parametrize("task", FORWARD)
def test_an_old_go_lets_nothing_new_begin(world: World, task: type[StellwerkOperator]) -> None:
    world.decide(at=NOW - timedelta(days=2))
    with pytest.raises(AirflowException, match=r"technical-lead's Go for technical-lead of .* has lapsed"):
        task(task_id="t").execute(CONTEXT)


def test_an_old_go_lets_finish_what_was_begun(world: World) -> None:
    world.decide(at=NOW - timedelta(days=2))
    ours = world.run.release_id
    switch = LastSwitch("green", "cutover", "", NOW, ours, "forward")
    world.cluster = Cluster(
        ServiceState("valeo-erp", {"version": "green"}, {RELEASE_ID: ours, LAST_SWITCH: switch.encode()})
    )
    with pytest.raises(Passed):
        Cutover(task_id="t", watched=False).execute(CONTEXT)
    record(world.ledger, world.run, DEPLOYED, {"slot": "green"})
    assert DeployIdleSlot(task_id="t").execute(CONTEXT) == {"slot": "green"}
    with pytest.raises(Passed):
        CleanUp(task_id="t").execute(CONTEXT)


# -- the database --------------------------------------------------------------------------------------------


class Database:
    """A migration that was surveyed and rehearsed, and a site that nothing may be done with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.ledger = a_run(), a_ledger()
        monkeypatch.setattr("stellwerk.operators.base.release_run", lambda _, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        monkeypatch.setattr("stellwerk.hooks.database.open_site", lambda _: Untouched())
        note(self.ledger, self.run, SURVEYED, worlds.SURVEYED)
        note(self.ledger, self.run, TRIED_OUT, worlds.TRIED)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    return Database(monkeypatch)


def test_nothing_is_migrated_without_a_go_for_exactly_this(database: Database) -> None:
    with pytest.raises(AirflowException, match="no Go from technical-lead"):
        Migrate(task_id="t").execute(CONTEXT)
    bound = decided_about(database.run, database.ledger)
    decide(database.ledger, bound)
    note(database.ledger, database.run, TRIED_OUT, {**worlds.TRIED, "id": "f" * 16})
    with pytest.raises(AirflowException, match="something that was approved has changed"):
        Migrate(task_id="t").execute(CONTEXT)


def test_nothing_is_migrated_by_an_old_go_and_by_a_young_one_it_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = decided_about(database.run, database.ledger)
    decide(database.ledger, bound, at=NOW - timedelta(days=2))
    with pytest.raises(AirflowException, match="has lapsed"):
        Migrate(task_id="t").execute(CONTEXT)
    decide(database.ledger, bound)
    monkeypatch.setattr(apply, "reading", lambda _: (_ for _ in ()).throw(Passed()))
    monkeypatch.setattr("stellwerk.hooks.database.open_site", lambda _: SimpleNamespace(tree=None))
    with pytest.raises(Passed):
        Migrate(task_id="t").execute(CONTEXT)


def test_no_schema_is_taken_back_against_the_last_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TakeBack, "traffic", lambda *_: None)
    record(database.ledger, database.run, MIGRATION_INTENDED, {"current": ["b"], "target": ["c"]})
    refuse(database.ledger, database.run, {"by": "bo", "why": "bo said Keep"}, at=NOW)
    with pytest.raises(AirflowException, match="the schema is kept"):
        TakeBack(task_id="t").execute(CONTEXT)


def test_no_database_is_restored_without_somebodys_last_word(database: Database) -> None:
    run, ledger, task = database.run, database.ledger, RestoreDatabase(task_id="t")
    site = cast(Any, Untouched())
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        task.on(run, site, ledger)
    with pytest.raises(RestoreUnconfirmed, match="nobody was shown"):
        restore_fully(run, site, ledger)
    record(ledger, run, RESTORE_STATED, {"digest": "d1"})
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        task.on(run, site, ledger)
    confirm(ledger, run, {"digest": "another", "by": "anna", "reason": "we are down"}, at=NOW)
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        task.on(run, site, ledger)
    confirm(ledger, run, {"digest": "d1", "by": "anna", "reason": "we are down"}, at=NOW)
    refuse(ledger, run, {"digest": "d1", "by": "bo", "why": "bo said Leave"}, at=NOW + timedelta(seconds=1))
    with pytest.raises(RestoreUnconfirmed, match="nobody has confirmed"):
        task.on(run, site, ledger)


def test_the_plan_lets_nothing_act_in_production(world: World) -> None:
    gate = world.run.environment.gate.model_copy(update={"automatic": "staging-deploy"})
    environment = world.run.environment.model_copy(update={"gate": gate})
    world.run = replace(world.run, environment=environment, phase="staging-deploy")
    for task in (Authorise, DeployIdleSlot):
        with pytest.raises(AirflowException, match="production is never changed without people"):
            task(task_id="t").execute(CONTEXT)
