"""The task that watches a migrated schema and its trigger: what survives, what goes on, what ends how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.triggers.base import TriggerEvent

from include.errors import ClusterUnreachable, LedgerUnavailable, MetricsRefused
from include.ledger.store import Ledger
from include.slo.account import Account
from include.steps import page as paging
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_CHECKPOINT,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCH_STARTED,
    MIGRATION_WATCHED,
)
from include.steps.database.watched import to_be_watched
from include.steps.record import all_recorded, record
from include.steps.schema_course import MIGRATED, MIGRATION_INTENDED
from include.watch import loop
from include.watch.config import Progress, WatchOutcome
from include.watch.schema import SchemaWindow, triggers_alone
from include.watch.world import World as Reads
from stellwerk.hooks.prometheus import PrometheusHook
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.database import Migrate
from stellwerk.sensors import schema as sensor
from stellwerk.sensors.schema import LeftSchemaWatch, SchemaWatch
from stellwerk.triggers import showing
from stellwerk.triggers import world as worlds
from stellwerk.triggers.schema import SchemaWatchTrigger
from tests.unit.steps.database.worlds import a_ledger, a_run

T0 = datetime(2030, 5, 1, 9, tzinfo=UTC)
RUN = a_run(watch_seconds=600)


def a_window(**changes: Any) -> SchemaWindow:
    given = {
        "release_id": RUN.release_id,
        "version": "3.0.0",
        "environment": triggers_alone(RUN.environment),
        "target": "blue",
        "began_at": T0.timestamp(),
        "deadline": T0.timestamp() + 600,
        "migrated": 1,
        "baselines": {},
    }
    return SchemaWindow(**{**given, **changes})


def outcome(result: Any, **more: Any) -> WatchOutcome:
    return WatchOutcome(result=result, sentence="so it is", at=T0.timestamp() + 60, **more)


class World:
    """The task with its surroundings replaced: whom it called, and what it deferred to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger: Ledger = a_ledger()
        self.cluster: Any = None
        self.began = 0
        self.ledger_is_out = False
        self.paged: list[str] = []

        def opened(_: str) -> Ledger:
            if self.ledger_is_out:
                raise LedgerUnavailable("out")
            return self.ledger

        async def begin(run: Any, cluster: Any, ledger: Ledger, prometheus: Any) -> SchemaWindow:
            self.began += 1
            assert (run, ledger, prometheus) == (RUN, self.ledger, None)
            about = to_be_watched(RUN, ledger)
            assert about is not None
            number = len(all_recorded(ledger, RUN, MIGRATION_WATCH_STARTED))
            window = a_window(number=number, migrated=about.sequence)
            record(ledger, RUN, MIGRATION_WATCH_STARTED, {"window": window.dump()}, number=window.number)
            return window

        def with_cluster(task: StellwerkOperator, run: Any, step: Any) -> Any:
            if self.cluster is not None:
                raise self.cluster
            return asyncio.run(step(run, None))

        for module in (sensor.__name__, "stellwerk.operators.base"):
            monkeypatch.setattr(f"{module}.release_run", lambda *_, **__: RUN)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", opened)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        monkeypatch.setattr("include.steps.database.watch.begin_window", begin)
        monkeypatch.setattr(StellwerkOperator, "with_cluster", with_cluster)
        monkeypatch.setattr(paging, "page", lambda run, ledger, matter, send: self.paged.append(matter.what))

    def migrated(self) -> World:
        record(self.ledger, RUN, MIGRATED, {}, at=T0)
        return self

    def execute(self, *, attempt: int = 1, last: int = 20) -> Any:
        """The task from its beginning.

        :param attempt: Airflow's number of it
        :param last: Airflow's ``max_tries``, the retries that are left from the last clearing on
        """
        context = cast(Any, {"ti": SimpleNamespace(try_number=attempt, max_tries=last)})
        return SchemaWatch(task_id="watch", retries=20).execute(context)

    def deferred(self, *, attempt: int = 1, last: int = 20) -> SchemaWindow:
        """The window of the trigger that the task defers to."""
        with pytest.raises(TaskDeferred) as deferred:
            self.execute(attempt=attempt, last=last)
        return self.window_of(deferred.value)

    def resume(self, ended: WatchOutcome, window: SchemaWindow | None = None) -> Any:
        """Another process goes on with the trigger's event."""
        event = json.loads(json.dumps(ended.dump()))
        return SchemaWatch(task_id="watch").execute_complete(cast(Any, {}), event, (window or a_window()).dump())

    def window_of(self, deferred: TaskDeferred) -> SchemaWindow:
        trigger = deferred.trigger
        assert isinstance(trigger, SchemaWatchTrigger)
        assert deferred.method_name == "execute_complete"
        assert deferred.kwargs == {"window": trigger.window}
        assert deferred.timeout is None, "its end is the window's, which a retry does not move"
        return SchemaWindow.load(trigger.window)

    def count(self, kind: str) -> int:
        return len(all_recorded(self.ledger, RUN, kind))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# -- the task ------------------------------------------------------------------------------------------------


def test_where_nothing_was_migrated_it_ends_at_once(world: World) -> None:
    assert world.execute() == {"watched": False, "sentence": "nothing was migrated"}
    assert world.began == 0


def test_it_defers_and_a_retry_goes_on_with_the_same_window(world: World) -> None:
    window = world.migrated().deferred()
    world.cluster = ClusterUnreachable("no answer")
    assert world.deferred(attempt=2) == window
    assert world.began == 1


def test_a_cluster_that_is_away_at_the_beginning_costs_a_try(world: World) -> None:
    world.migrated().cluster = ClusterUnreachable("no answer")
    with pytest.raises(AirflowException) as failed:
        world.execute()
    assert not isinstance(failed.value, AirflowFailException)


def test_a_pass_ends_it_and_stays_one(world: World) -> None:
    world.migrated()
    done = world.resume(outcome("PASSED", measures={"requests": 9000}))
    assert (done["watched"], done["slot"], done["measures"]) == (True, "blue", {"requests": 9000})
    assert world.execute(attempt=2) == done
    assert (world.count(MIGRATION_WATCHED), world.paged) == (1, [])


@pytest.mark.parametrize("result", ["FIRED", "HELD", "MOVED"])
def test_everything_else_fails_it_at_once_and_calls_people(world: World, result: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"FailsOnNewSchema.*so it is"):
        world.migrated().resume(outcome(result))
    assert (world.count(MIGRATION_WATCH_FAILED), world.count(MIGRATION_WATCHED)) == (1, 0)
    assert len(world.paged) == 1


def test_a_notice_calls_people_and_the_same_window_goes_on(world: World) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        world.migrated().resume(outcome("NOTICE", pages=("metrics",)))
    assert world.window_of(deferred.value) == a_window(paged=("metrics",))
    assert world.paged == ["the watch has no usable metrics"]
    assert world.count(MIGRATION_WATCH_FAILED) == 0


def test_without_the_ledger_people_are_called_and_a_failure_is_not_lost(world: World) -> None:
    world.migrated().ledger_is_out = True
    with pytest.raises(AirflowException):
        world.resume(outcome("FIRED"))
    assert len(world.paged) == 1


def test_whoever_clears_it_gets_another_window_and_a_death_gets_none(world: World) -> None:
    first = world.migrated().deferred()
    with pytest.raises(AirflowFailException):
        world.resume(outcome("FIRED"), first)
    with pytest.raises(AirflowFailException, match="the running version fails"):
        world.execute(attempt=2)
    # Airflow counts a cleared task's retries anew: its next attempt is the first of 20 more.
    assert world.deferred(attempt=3, last=22).number == 1
    assert world.deferred(attempt=4, last=22).number == 1


def test_killed_while_it_is_deferred_it_does_nothing(world: World) -> None:
    world.migrated().deferred()
    SchemaWatch(task_id="watch").on_kill()
    assert world.count(MIGRATION_WATCH_FAILED) == 0


# -- the migration begins it ---------------------------------------------------------------------------------


@pytest.fixture
def migrate(world: World, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What migrating returns, to be filled."""
    results: list[dict[str, Any]] = []
    monkeypatch.setattr("stellwerk.hooks.database.open_site", lambda _: None)
    monkeypatch.setattr("include.steps.database.apply.migrate", lambda *_, **__: results[0])
    return results


def test_the_window_begins_with_the_migration(world: World, migrate: list[dict[str, Any]]) -> None:
    migrate.append({"applied": True})
    world.migrated()
    assert Migrate(task_id="migrate").execute(cast(Any, {})) == {"applied": True}
    assert world.began == 1
    assert world.deferred() == a_window()
    assert world.began == 1, "by the migration"


def test_nothing_begins_where_nothing_was_applied(world: World, migrate: list[dict[str, Any]]) -> None:
    migrate.append({"applied": False})
    Migrate(task_id="migrate").execute(cast(Any, {}))
    assert world.began == 0


def test_a_window_that_cannot_begin_fails_no_migration(world: World, migrate: list[dict[str, Any]]) -> None:
    migrate.append({"applied": True})
    world.migrated().cluster = ClusterUnreachable("no answer")
    assert Migrate(task_id="migrate").execute(cast(Any, {})) == {"applied": True}
    world.cluster = None
    assert world.deferred() == a_window()


@pytest.mark.parametrize("opens", [True, False])
def test_a_prometheus_that_is_not_to_be_had_is_no_obstacle(
    world: World, monkeypatch: pytest.MonkeyPatch, *, opens: bool
) -> None:
    class Hook:
        @asynccontextmanager
        async def client(self) -> AsyncIterator[str]:
            if not opens:
                raise MetricsRefused("no certificates")
            yield "prometheus"

    async def step(run: Any, cluster: Any, prometheus: Any) -> Any:
        return prometheus

    task = SchemaWatch(task_id="watch")
    monkeypatch.setattr(PrometheusHook, "needed", lambda _: Hook())
    assert task.with_metrics(RUN, step) == ("prometheus" if opens else None)

    def refuse(_: object) -> None:
        raise MetricsRefused("no such connection")

    monkeypatch.setattr(PrometheusHook, "needed", refuse)
    assert task.with_metrics(RUN, step) is None


# -- the trigger ---------------------------------------------------------------------------------------------


def test_the_serialized_trigger_is_exactly_its_window() -> None:
    window = a_window().dump()
    assert SchemaWatchTrigger(window=window).serialize() == (
        "stellwerk.triggers.schema.SchemaWatchTrigger",
        {"window": window},
    )
    assert not any(word in json.dumps(window).lower() for word in ("password", "token", "kube_config"))


class Triggerer:
    """What a trigger works with, replaced; the watch itself tells its progress and ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = a_ledger()
        self.watched: list[SchemaWindow] = []
        self.reads: list[Reads] = []
        self.shown: list[Any] = []
        self.closed = 0
        self.hangs = False

        @asynccontextmanager
        async def cluster(namespace: str) -> AsyncIterator[object]:
            try:
                yield SimpleNamespace(namespace=namespace, _transport=None)
            finally:
                self.closed += 1

        async def aread(conn_id: str) -> Any:
            return SimpleNamespace(cluster=cluster)

        async def aopen_ledger(conn_id: str, timeout_seconds: float) -> Any:
            return self.ledger

        async def watch_schema(window: SchemaWindow, reads: Reads) -> WatchOutcome:
            self.watched.append(window)
            self.reads.append(reads)
            assert reads.progress is not None
            await reads.progress(Progress(at=1.0, state="HEALTHY", sentence="fine", seconds_left=60))
            if self.hangs:
                await asyncio.Event().wait()
            return outcome("PASSED")

        async def show(ti: Any, key: str, value: Any) -> None:
            self.shown.append((key, value["state"]))
            raise TimeoutError  # nobody sees it: no reason to stop

        monkeypatch.setattr(worlds.ClusterHook, "aread", aread)
        monkeypatch.setattr(worlds, "aopen_ledger", aopen_ledger)
        monkeypatch.setattr(showing, "show", show)
        monkeypatch.setattr(loop, "watch_schema", watch_schema)

    async def run(self, window: SchemaWindow) -> list[Any]:
        trigger = SchemaWatchTrigger(window=window.dump())
        trigger.task_instance = cast(Any, SimpleNamespace(id=uuid4(), task_id="watch"))
        events: list[TriggerEvent] = [event async for event in trigger.run()]
        return [cast(Any, event.payload) for event in events]


@pytest.fixture
def triggerer(monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    return Triggerer(monkeypatch)


async def test_the_trigger_watches_its_window_and_ends_with_one_event(triggerer: Triggerer) -> None:
    [event] = await triggerer.run(a_window())
    assert WatchOutcome.load(event).result == "PASSED"
    assert triggerer.watched == [a_window()]
    assert (triggerer.shown, triggerer.closed) == ([("watch", "HEALTHY")], 1)
    assert set(triggerer.reads[0].sources) == RUN.environment.slo.sources


async def test_a_trigger_that_is_resumed_goes_on_with_what_was_counted(triggerer: Triggerer) -> None:
    await triggerer.run(a_window())
    [first] = triggerer.reads
    assert first.checkpoint is not None
    account = Account.begin({}, at=T0.timestamp(), source="openmetrics")
    await first.checkpoint(account)
    [kept] = triggerer.ledger.entries()
    assert kept.kind == MIGRATION_WATCH_CHECKPOINT
    began = a_window(began_at=T0.timestamp() - 1e9, deadline=T0.timestamp())
    await triggerer.run(began)
    assert triggerer.reads[1].account == account
    await triggerer.run(began.model_copy(update={"number": 1}))
    assert triggerer.reads[2].account is None, "another window counts from its own beginning"


async def test_a_trigger_that_is_cancelled_closes_what_it_has_opened(triggerer: Triggerer) -> None:
    triggerer.hangs = True
    running = asyncio.create_task(triggerer.run(a_window()))
    while not triggerer.shown and not running.done():
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    assert (running.cancelled(), triggerer.closed) == (True, 1)


# -- what was left -------------------------------------------------------------------------------------------


def test_a_migration_that_did_not_come_to_its_watch_is_watched_by_another_task(world: World) -> None:
    record(world.ledger, RUN, MIGRATION_INTENDED, {})
    task = LeftSchemaWatch(task_id="watch_left", retries=20)
    context = cast(Any, {"ti": SimpleNamespace(try_number=1, max_tries=20)})
    with pytest.raises(TaskDeferred):
        task.execute(context)
    record(world.ledger, RUN, MIGRATION_VERIFIED, {})
    with pytest.raises(AirflowSkipException, match="has come to its watch"):
        task.execute(context)
