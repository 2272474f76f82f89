"""``db-migration`` from trigger to end: looked at, rehearsed, decided, applied, watched, taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

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
    WAY_BACK_STATED,
)
from include.steps.planned import KEPT as PLAN_KEPT
from include.steps.planned import PLANNED
from include.steps.record import APPROVED
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    REHEARSED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
)
from tests.e2e.conftest import World
from tests.e2e.erp import NEW, OLD, Erp, states
from tests.e2e.gatekeeping import forced
from tests.e2e.runtime_fixtures import still_running
from tests.e2e.spilled import spilled
from tests.e2e.worlds import staging_like_production

FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
STARTED, COMPLETED = "Database migration started", "Database migration completed"
BROKEN, KEPT, BACK = "Database migration failed", "Database left as it is", "Database migration taken back"
LEAD, ON_CALL = MIGRATION_DECIDERS
ORDERS = 5
# What the migration has added is filled in, of so many orders.
DELIVERED = (
    "UPDATE orders SET delivery_date = '2030-01-20' "
    "WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT {}) RETURNING id"
)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


def posts(world: World, line: str, environment: str) -> int:
    return sum(f"*{line}*" in text and f"· {environment} ·" in text for text in world.inbox("slack"))


def not_taken_back(client: AirflowClient, erp: Erp, run: Run) -> str:
    """Have the way back run, whatever Airflow thinks of the question before it; what it says of itself."""
    [log] = forced(client, run, {"way_back.take_back": ()}).values()
    client.wait_for_run(run, deadline_seconds=60)
    assert "LossNotConfirmed" in log, log[-2000:]
    assert (erp.revisions(), erp.told(run, WAY_BACK_INTENDED), erp.told(run, LOSS_CONFIRMED)) == (NEW, [], [])
    return log


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

    assert {entry.kind for entry in erp.entries(plan)} - {PLANNED, PLAN_KEPT} == {SURVEYED}
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
        erp.ask(DELIVERED.format(2))
        # What users see of a schema on which the running version does not work: answers that never come.
        with erp.locked("articles", "ACCESS EXCLUSIVE"):
            client.wait_for_task(run, "watch", deadline_seconds=60, states=FAILED)
        assert "the running version fails on the new schema" in client.log(run, "watch")

        question = client.wait_for_question(run, "way_back.ask", map_index=0, deadline_seconds=60)
        assert "2 (confirmed up to 2) values of orders.delivery_date" in question.body
        assert any("decide whether to take the schema back" in text for text in world.inbox("slack")[alerts:])
        form = {"reason": "the outage is worse", "statement": question.params["statement"]["value"]}
        with sandbox.airflow.client("business-owner") as person, pytest.raises(AirflowRefused) as refused:
            person.answer(question, "Take back", form)
        assert refused.value.status == 403
        assert erp.revisions() == NEW
        with sandbox.airflow.client(ON_CALL) as person:
            person.answer(question, "Keep", form)
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)
        assert states(client, run)["way_back.take_back"] == "skipped"
        assert (posts(world, BROKEN, "staging"), posts(world, KEPT, "staging")) == (1, 1)
        assert erp.revisions() == NEW
        client.set_task_state(run, "way_back.ask", "success", map_index=question.map_index)
        assert "the schema is kept: that was the last answer" in not_taken_back(client, erp, run)

        # Users go on working: what going back would lose is another statement, and is asked about as such.
        erp.ask(DELIVERED.format(3))
        client.clear(run, ["way_back.state"])
        anew = client.wait_for_question(run, "way_back.ask", map_index=1, deadline_seconds=60)
        assert "3 (confirmed up to 3) values of orders.delivery_date" in anew.body
        assert anew.params["statement"]["value"] != question.params["statement"]["value"]
        form["statement"] = anew.params["statement"]["value"]
        with sandbox.airflow.client(ON_CALL) as person:
            with pytest.raises(AirflowRefused) as refused:
                person.answer(question, "Take back", form)
            assert refused.value.status == 409
            person.answer(anew, "Take back", form)
        client.wait_for_task(run, "way_back.take_back", deadline_seconds=120)
        client.wait_for_run(run, deadline_seconds=120, states=FAILED)

    assert states(client, run)["way_back.take_back"] == "success"
    assert (erp.revisions(), erp.orders(), erp.databases(), erp.backends()) == (OLD, orders, databases, [])
    [confirmed] = erp.told(run, LOSS_CONFIRMED)
    assert (confirmed["by"], confirmed["reason"]) == (ON_CALL, "the outage is worse")
    assert confirmed["digest"] == erp.told(run, WAY_BACK_STATED)[-1]["digest"] == form["statement"]
    counted = Counter(entry.kind for entry in erp.entries(run))
    assert (counted[MIGRATED], counted[TAKEN_BACK], counted[MIGRATION_WATCHED]) == (1, 1, 0)
    [failed] = erp.told(run, MIGRATION_WATCH_FAILED)
    assert (failed["result"], failed["slot"]) == ("FIRED", world.active())
    assert any("fails on the new schema" in text for text in world.inbox("slack")[alerts:])
    assert (posts(world, STARTED, "staging"), posts(world, COMPLETED, "staging")) == (1, 0)
    assert [posts(world, line, "staging") for line in (BROKEN, KEPT, BACK)] == [1, 1, 1]
    erp.order()


def test_each_worker_killed_in_the_middle_costs_a_try_and_the_schema_is_migrated_once(
    sandbox: Sandbox, world: World, client: AirflowClient, erp: Erp
) -> None:
    orders, databases = erp.orders(), erp.databases()
    told = [posts(world, line, "production") for line in (STARTED, COMPLETED)]
    run = trigger_migration(sandbox.airflow, "3.0.0", "apply")
    answer_gate(sandbox.airflow, run, people=MIGRATION_DECIDERS)
    with erp.locked("orders", "ACCESS SHARE"):
        client.wait_for_task(run, "migration.migrate", deadline_seconds=90, states=frozenset({"running"}))
        first = _blocked_task(sandbox, erp)
        assert erp.revisions() == OLD
        first.kill()
        wait_until(lambda: not erp.backends(), deadline_seconds=30, what="the end of its backends")
        second = _blocked_task(sandbox, erp)
        assert second != first
        # The process that looks after the task and tells Airflow of it: nobody learns of the task any more.
        supervisor = second.parent()
        assert supervisor is not None
        assert supervisor.pid != sandbox.airflow.pid("scheduler")
        supervisor.kill()
        wait_until(lambda: not still_running([second]), deadline_seconds=120, what="the end of its task")
        wait_until(lambda: not erp.backends(), deadline_seconds=30, what="the end of its backends")
        assert (erp.revisions(), erp.told(run, MIGRATED)) == (OLD, [])
    # Without users nobody would know how the running version does.
    with constant_load(sandbox, "e2e-migration", 20, paths=("/api/v1/articles",)):
        client.wait_for_run(run, deadline_seconds=300, states=SUCCESS)

    assert client.task(run, "migration.migrate").tries >= 3
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
    assert [posts(world, line, "production") for line in (STARTED, COMPLETED)] == [before + 1 for before in told]
    # It went well and nobody was asked: by a state alone it is not undone.
    client.set_task_state(run, "way_back.ask", "success")
    assert "nobody has confirmed it" in not_taken_back(client, erp, run)
    erp.order()


def _blocked_task(sandbox: Sandbox, erp: Erp) -> psutil.Process:
    """The process of the task whose migration waits for a lock: the parent of the application's Alembic."""
    found: list[psutil.Process] = []

    def look() -> bool:
        if erp.waiting():
            below = [psutil.Process(pid) for pid in descendants(sandbox.airflow.pid("scheduler"))]
            found.extend(one.parent() for one in below if str(MAIN) in one.cmdline())
        return bool(found)

    wait_until(look, deadline_seconds=90, what="a migration to wait")
    return found[0]


def test_no_secret_is_in_what_airflow_tells_or_people_read(sandbox: Sandbox, client: AirflowClient) -> None:
    runs = client.runs("db-migration")
    assert runs, "nothing was migrated, so nothing is shown"
    found, looked = spilled(sandbox, client, runs)
    assert found == []
    assert looked > 100
