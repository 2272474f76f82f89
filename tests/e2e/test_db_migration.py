"""``db-migration`` from trigger to end: looked at, rehearsed, decided, applied, watched, taken back."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.activity import TAG
from include.migration.process import MAIN
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Run
from include.sandbox.environment import Sandbox
from include.sandbox.guard import descendants
from include.sandbox.people import MIGRATION_DECIDERS, answer_gate, trigger_migration
from include.sandbox.processes import wait_until
from include.sandbox.story import constant_load
from include.steps.database.entries import (
    BACKED_UP,
    BACKUP_PROVEN,
    LOSS_CONFIRMED,
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCH_STARTED,
    MIGRATION_WATCHED,
    SURVEYED,
    TRIED_OUT,
)
from include.steps.record import APPROVED
from include.steps.schema_proof import MIGRATED, MIGRATION_INTENDED, REHEARSED, TAKEN_BACK
from tests.e2e.conftest import World
from tests.e2e.spilled import spilled
from tests.e2e.worlds import staging_like_production

OLD, NEW = {"0002_orders"}, {"0003_delivery_date"}
FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
STARTED, COMPLETED = "Database migration started", "Database migration completed"
LEAD, ON_CALL = MIGRATION_DECIDERS
ORDERS = 5


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


class Erp:
    """The demo ERP's database, and the ledger beside it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.url = sandbox.postgres.url("valeo_erp")
        self.public = sandbox.addresses.public_url
        self._ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def revisions(self) -> set[str]:
        return {revision for (revision,) in self.ask("SELECT version_num FROM alembic_version")}

    def databases(self) -> set[str]:
        return {name for (name,) in self.ask("SELECT datname::text FROM pg_database WHERE NOT datistemplate")}

    def orders(self) -> int:
        return int(self.ask("SELECT count(*) FROM orders")[0][0])

    def order(self) -> None:
        """As a user of the version that runs."""
        answer = httpx.post(f"{self.public}/api/v1/orders", json={"article_id": 1, "quantity": 2}, timeout=10)
        assert answer.status_code == httpx.codes.CREATED, answer.text

    def waiting(self) -> list[int]:
        """Backends of a migration that wait for somebody's lock."""
        mine = f"application_name LIKE '{TAG}%'"
        return [
            pid
            for (pid,) in self.ask(f"SELECT pid FROM pg_stat_activity WHERE {mine} AND wait_event_type = 'Lock'")
        ]

    def backends(self) -> list[int]:
        """Backends of any migration."""
        return [
            pid for (pid,) in self.ask(f"SELECT pid FROM pg_stat_activity WHERE application_name LIKE '{TAG}%'")
        ]

    @contextmanager
    def locked(self, table: str, mode: str) -> Iterator[None]:
        """Somebody's transaction holds a lock for as long."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield

    def entries(self, run: Run) -> list[Entry]:
        return list(self._ledger.entries(run_id=run.run_id))

    def told(self, run: Run, kind: str) -> list[dict[str, Any]]:
        return [dict(entry.payload) for entry in self.entries(run) if entry.kind == kind]


@pytest.fixture
def erp(sandbox: Sandbox) -> Erp:
    return Erp(sandbox)


def states(client: AirflowClient, run: Run) -> dict[str, str]:
    return {task.task_id: task.state for task in client.tasks(run)}


def posts(world: World, line: str, environment: str) -> int:
    return sum(f"*{line}*" in text and f"· {environment} ·" in text for text in world.inbox("slack"))


def test_a_plan_only_looks_and_a_rehearsal_leaves_nothing_but_its_proof(
    sandbox: Sandbox, client: AirflowClient, erp: Erp
) -> None:
    databases, orders = erp.databases(), erp.orders() + ORDERS
    for _ in range(ORDERS):
        erp.order()
    plan = trigger_migration(sandbox.airflow, "3.0.0", "plan")
    rehearsal = trigger_migration(sandbox.airflow, "3.0.0", "rehearse")
    client.wait_for_run(plan, deadline_seconds=90, states=SUCCESS)
    client.wait_for_run(rehearsal, deadline_seconds=150, states=SUCCESS)

    assert [entry.kind for entry in erp.entries(plan)] == [SURVEYED]
    assert {name for name, state in states(client, plan).items() if state == "success"} == {"survey"}
    assert states(client, rehearsal)["go_no_go.roles"] == "skipped"
    assert (erp.revisions(), erp.databases(), erp.orders()) == (OLD, databases, orders)

    [surveyed] = erp.told(plan, SURVEYED)
    assert (surveyed["current"], surveyed["target"]) == (sorted(OLD), sorted(NEW))
    [proven] = erp.told(rehearsal, BACKUP_PROVEN)
    assert (proven["purpose"], proven["level"]) == ("rehearsal", "restore")
    assert (sandbox.options.state / "backups" / proven["backup"]).is_dir()
    [tried] = erp.told(rehearsal, TRIED_OUT)
    assert (tried["old_version"]["proven"], tried["way_back"]["proven"], tried["rows"]) == (True, True, [])
    assert tried["old_version"]["sentences"] == [
        "2.9.0 is ready on this schema, 12 articles have a price",
        f"the newest {min(orders, 100)} orders were read one by one and belong to articles",
        "an order was placed and read back",
    ]
    assert len(erp.told(rehearsal, REHEARSED)) == 1


def test_a_schema_on_which_the_running_version_fails_is_taken_back_by_a_human(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    orders, databases = erp.orders(), erp.databases()
    alerts = len(world.inbox("slack"))
    changes = {
        "database": {"watch_seconds": 120},
        "slo": {"triggers": {"down_seconds": 3}},
        "prober": {"every_seconds": 1},
    }
    with staging_like_production(sandbox, changes):
        run = trigger_migration(sandbox.airflow, "3.0.0", "apply", "staging")
        questions = answer_gate(sandbox.airflow, run, people=MIGRATION_DECIDERS)
        for question in questions:
            assert "the old version works on the new schema" in question.body
            assert "the way back leads to the old schema" in question.body
        client.wait_for_task(run, "watch", deadline_seconds=120, states=frozenset({"deferred"}))
        assert erp.revisions() == NEW
        two = "SELECT id FROM orders ORDER BY id LIMIT 2"
        erp.ask(f"UPDATE orders SET delivery_date = '2030-01-20' WHERE id IN ({two}) RETURNING id")
        # What users see of a schema on which the running version does not work: answers that never come.
        with erp.locked("articles", "ACCESS EXCLUSIVE"):
            client.wait_for_task(run, "watch", deadline_seconds=60, states=FAILED)
        assert "the running version fails on the new schema" in client.log(run, "watch")

        question = client.wait_for_question(run, "way_back.ask", deadline_seconds=60)
        assert "2 (confirmed up to 2) values of orders.delivery_date" in question.body
        form = {"reason": "the outage is worse", "statement": question.params["statement"]["value"]}
        with sandbox.airflow.client("business-owner") as person, pytest.raises(AirflowRefused) as refused:
            person.answer(question, "Take back", form)
        assert refused.value.status == 403
        assert erp.revisions() == NEW
        with sandbox.airflow.client(ON_CALL) as person:
            person.answer(question, "Take back", form)
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)

    assert states(client, run)["way_back.take_back"] == "success"
    assert (erp.revisions(), erp.orders(), erp.databases(), erp.backends()) == (OLD, orders, databases, [])
    [confirmed] = erp.told(run, LOSS_CONFIRMED)
    assert (confirmed["by"], confirmed["reason"]) == (ON_CALL, "the outage is worse")
    counted = Counter(entry.kind for entry in erp.entries(run))
    assert (counted[MIGRATED], counted[TAKEN_BACK], counted[MIGRATION_WATCHED]) == (1, 1, 0)
    [failed] = erp.told(run, MIGRATION_WATCH_FAILED)
    assert (failed["result"], failed["slot"]) == ("FIRED", world.active())
    assert any("fails on the new schema" in text for text in world.inbox("slack")[alerts:])
    assert (posts(world, STARTED, "staging"), posts(world, COMPLETED, "staging")) == (1, 0)
    erp.order()


def test_a_worker_killed_in_the_middle_costs_a_try_and_the_schema_is_migrated_once(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    orders, databases = erp.orders(), erp.databases()
    run = trigger_migration(sandbox.airflow, "3.0.0", "apply")
    answer_gate(sandbox.airflow, run, people=MIGRATION_DECIDERS)
    with erp.locked("orders", "ACCESS SHARE"):
        client.wait_for_task(run, "migration.migrate", deadline_seconds=90, states=frozenset({"running"}))
        wait_until(lambda: erp.waiting(), deadline_seconds=30, what="the migration to wait", poll_seconds=0.1)
        assert erp.revisions() == OLD
        os.kill(_worker(sandbox), signal.SIGKILL)
        wait_until(lambda: not erp.backends(), deadline_seconds=30, what="the end of its backends")
    # Without users nobody would know how the running version does.
    with constant_load(sandbox, "e2e-migration", 20, paths=("/api/v1/articles",)):
        client.wait_for_run(run, deadline_seconds=240, states=SUCCESS)

    assert client.task(run, "migration.migrate").tries == 2
    assert (erp.revisions(), erp.orders(), erp.databases(), erp.backends()) == (NEW, orders, databases, [])
    counted = Counter(entry.kind for entry in erp.entries(run))
    once = (
        *(APPROVED, REHEARSED, MIGRATION_INTENDED, MIGRATED, MIGRATION_VERIFIED),
        *(MIGRATION_WATCH_STARTED, MIGRATION_WATCHED),
    )
    assert {kind: counted[kind] for kind in once} == dict.fromkeys(once, 1)
    [watched] = erp.told(run, MIGRATION_WATCHED)
    assert (watched["result"], watched["slot"], watched["measures"]["errors"]) == ("PASSED", world.active(), 0)
    assert watched["measures"]["requests"] >= 200
    assert (counted[BACKED_UP], counted[BACKUP_PROVEN]) == (2, 2)
    [approved] = erp.told(run, APPROVED)
    assert approved["people"] == sorted(MIGRATION_DECIDERS)
    [migrated] = erp.told(run, MIGRATED)
    [safety] = [one for one in erp.told(run, BACKUP_PROVEN) if one["purpose"] == "safety"]
    assert (migrated["backup"], safety["level"]) == (safety["backup"], "restore")
    assert (posts(world, STARTED, "production"), posts(world, COMPLETED, "production")) == (1, 1)
    erp.order()


def _worker(sandbox: Sandbox) -> int:
    """The process of the task that migrates: the parent of the application's Alembic."""
    for pid in descendants(sandbox.airflow.pid("scheduler")):
        try:
            process = psutil.Process(pid)
            if str(MAIN) in process.cmdline():
                return process.ppid()
        except psutil.NoSuchProcess:
            continue
    raise AssertionError("no Alembic runs")


def test_no_secret_is_in_what_airflow_tells_or_people_read(sandbox: Sandbox, client: AirflowClient) -> None:
    runs = client.runs("db-migration")
    assert runs, "nothing was migrated, so nothing is shown"
    found, looked = spilled(sandbox, client, runs)
    assert found == []
    assert looked > 100
