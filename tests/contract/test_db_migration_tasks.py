"""The tasks of ``db-migration``, one after the other, on a real PostgreSQL that an Airflow connection leads to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowException, TaskAwaitingInput, TaskDeferred

from include.bluegreen.state import ServiceState
from include.ledger.approvals import GO
from include.sandbox.postgres import Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.steps.database.confirm import ASKED_OF
from include.steps.database.entries import MIGRATION_WATCH_FAILED, WAY_BACK_STATED
from include.steps.database.gate import decided_about
from include.steps.record import recorded
from include.steps.run import ReleaseRun
from include.steps.schema_proof import schema_proof
from include.watch.config import WatchOutcome
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.database import (
    BackUp,
    Migrate,
    OnlyInMode,
    Rehearse,
    RetainBackups,
    Survey,
    VerifyBackup,
    VerifyMigrated,
)
from stellwerk.operators.decision import RoleDecision
from stellwerk.operators.gate import Approve, GateRoles
from stellwerk.operators.way_back import TAKE, AskTakeBack, StateWayBack, TakeBack
from stellwerk.sensors.schema import SchemaWatch
from tests.contract.places import NEW, OLD, Place, demo_place

SUITE = """
import psycopg
with psycopg.connect() as connection:
    connection.execute("INSERT INTO orders (article_id, quantity, total_cents) VALUES (1, 1, 100)")
print("an order was placed")
"""
CONTEXT = cast(
    Any,
    {
        "task_instance": SimpleNamespace(id=uuid4()),
        "ti": SimpleNamespace(try_number=1, max_tries=0),
        "params": {"mode": "apply"},
    },
)


@pytest.fixture
def demo(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The demo ERP; tasks find its run, its ledger and, by Airflow's connection, its database."""
    suite = tmp_path / "suite.py"
    suite.write_text(SUITE)
    rehearsal = {"old_version": {"program": [sys.executable, str(suite)]}}
    made = demo_place(server, tmp_path, rehearsal=rehearsal, clients=str(installed_postgres() / "bin"))
    database = made.erp.database
    password = quote(database.password, safe="")
    url = f"postgres://{database.user}:{password}@{database.host}:{database.port}/{database.name}"
    monkeypatch.setenv("AIRFLOW_CONN_ERP", url)
    operators = ("base", "way_back", "loss", "decision")
    for module in (*(f"stellwerk.operators.{name}" for name in operators), "stellwerk.sensors.schema"):
        monkeypatch.setattr(f"{module}.release_run", lambda *_, **__: made.run)
    monkeypatch.setattr(StellwerkOperator, "with_cluster", with_traffic_on_blue)
    monkeypatch.setattr("include.steps.page.page", lambda *_: True)
    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: made.ledger)
    monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    return made


def with_traffic_on_blue(_: StellwerkOperator, run: ReleaseRun, step: Any) -> Any:
    """The part of a cluster that a migration asks: which slot takes the traffic, and whose turn it is.

    No pod of it tells anything.
    """
    traffic = run.environment.traffic

    async def service(name: str) -> ServiceState:
        return ServiceState(name, traffic.selector_for("blue"), {}, "1")

    async def lease(_: str) -> None:
        """Nobody ever had one."""

    return asyncio.run(step(run, SimpleNamespace(service=service, lease=lease)))


def watching() -> dict[str, Any]:
    """The task defers: what Airflow keeps of it."""
    with pytest.raises(TaskDeferred) as deferred:
        SchemaWatch(task_id="watch").execute(CONTEXT)
    return dict(deferred.value.trigger.serialize()[1])


def done(*tasks: StellwerkOperator) -> list[Any]:
    """What each hands to Airflow."""
    return [task.execute(CONTEXT) for task in tasks]


def answered(task: Callable[[], Any], choice: str, by: str, form: dict[str, str], place: int = 0) -> Any:
    """The task asks, and another process goes on with the answer."""
    instance = SimpleNamespace(id=uuid4(), map_index=place)
    context = cast("Any", {**CONTEXT, "ti": instance, "task_instance": instance})
    with pytest.raises(TaskAwaitingInput):
        task().execute(context)
    answer = {
        "chosen_options": [choice],
        "params_input": form,
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": by, "name": by},
        "timedout": False,
    }
    return task().execute_complete(context, answer)


def test_the_tasks_migrate_and_take_back_and_tell_airflow_no_secret(
    demo: Place, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    databases = demo.databases()
    results = done(
        Survey(task_id="survey"),
        OnlyInMode(task_id="rehearses", modes=("rehearse", "apply")),
        BackUp(task_id="back_up", purpose="rehearsal"),
        VerifyBackup(task_id="verify_backup", purpose="rehearsal"),
        Survey(task_id="survey_again"),
        Rehearse(task_id="rehearse"),
        OnlyInMode(task_id="applies", modes=("apply",)),
        GateRoles(task_id="roles", asks="decide", about="migration"),
    )
    with pytest.raises(AirflowException, match="Approval"):
        Migrate(task_id="migrate").execute(CONTEXT)
    for place, (given, user) in enumerate(zip(results[-1], ("anna", "bo"), strict=True)):
        asked = partial(RoleDecision, task_id="decide", evidence_from="", about="migration", **given)
        shown = decided_about(demo.run, demo.ledger).fingerprint
        results.append(answered(asked, GO, user, {"comment": "fine", "fingerprint": shown}, place))
    results += done(
        Approve(task_id="approve", about="migration"),
        BackUp(task_id="back_up", purpose="safety"),
        VerifyBackup(task_id="verify_backup", purpose="safety"),
        Migrate(task_id="migrate"),
        VerifyMigrated(task_id="verify"),
        RetainBackups(task_id="retain_backups"),
    )
    assert (demo.erp.revisions(), demo.rows("orders")) == (NEW, 10)
    assert schema_proof(demo.run, demo.ledger) == "rehearsed"

    demo.erp.do("UPDATE public.orders SET delivery_date = '2030-05-02' WHERE id <= 3")
    fired = WatchOutcome(result="FIRED", sentence="error rate 30 %", at=datetime.now(UTC).timestamp())
    results.append(watching())
    with pytest.raises(AirflowException, match="FailsOnNewSchema: the running version fails"):
        SchemaWatch(task_id="watch").execute_complete(CONTEXT, fired.dump(), **results[-1])
    ended = recorded(demo.ledger, demo.run, MIGRATION_WATCH_FAILED)
    assert ended is not None
    assert ended.payload["slot"] == "blue"
    results.append(dict(ended.payload))
    assert StateWayBack(task_id="state", asks="ask").execute(CONTEXT) == [{"role": ASKED_OF, "over": ""}]
    stated = recorded(demo.ledger, demo.run, WAY_BACK_STATED)
    assert stated is not None
    with pytest.raises(AirflowException, match="LossNotConfirmed"):
        TakeBack(task_id="take_back").execute(CONTEXT)
    form = {"reason": "the outage is worse", "statement": stated.payload["digest"]}
    results += [dict(stated.payload), answered(partial(AskTakeBack, task_id="ask"), TAKE, "bo", form)]
    results.append(TakeBack(task_id="take_back").execute(CONTEXT))
    assert (demo.erp.revisions(), demo.rows("orders"), demo.databases()) == (OLD, 10, databases)
    assert schema_proof(demo.run, demo.ledger) == "unchanged"

    said = "".join((json.dumps(results), caplog.text, *capfd.readouterr()))
    assert demo.erp.database.password not in said
    assert "an order was placed" in said
