"""The full restore of a rollback, task by task, on a real PostgreSQL; the cluster is a stand-in here.

The real one is in tests/contract/test_rollback.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskAwaitingInput

from include.backup.preflight import TargetSeen
from include.errors import DatabaseBusy
from include.sandbox.postgres import Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.steps.database.entries import RESTORE_STATED
from include.steps.database.full_restore import restorable
from include.steps.record import ROLLBACK_BLOCKED, ROLLBACK_REFUSED, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    RESTORE_RESUMED,
    RESTORE_STOPPED,
    RESTORED,
)
from include.steps.schema_proof import schema_proof
from stellwerk.hooks.database import open_site
from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.full_restore import (
    AskRestore,
    RestoreDatabase,
    ResumeApplication,
    StateLoss,
    StopApplication,
)
from stellwerk.operators.rollback import BringBack
from tests.contract.places import NEW, OLD, Place, demo_place
from tests.unit.steps.applications import Application
from tests.unit.steps.database.worlds import a_run

INSTANCE = SimpleNamespace(id=uuid4(), try_number=1, max_tries=5, map_index=0, shown="")
CONTEXT = cast(Any, {"task_instance": INSTANCE, "ti": INSTANCE, "params": {}})
ORDER = "INSERT INTO public.orders (article_id, quantity, total_cents) VALUES (1, 1, 100)"


class World:
    """A release that was migrated and cut over, and a run of rollback that somebody has asked to restore."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.run = replace(place.run, phase="rollback", run_id="rb1")
        self.application = Application(self.run)
        self.ledger = place.ledger
        self.called: list[str] = []
        modules = ("stellwerk.operators.base", "stellwerk.operators.loss", "stellwerk.runs")
        for module in modules:
            monkeypatch.setattr(f"{module}.release_run", lambda *_, **__: self.run)
        monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda *_, **__: self.ledger)
        monkeypatch.setattr("stellwerk.hooks.ledger.note_head_outside", lambda _: None)
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
        self.over: set[str] = set()
        monkeypatch.setattr("include.steps.page.page", lambda *given: self.called.append(given[2].what))
        monkeypatch.setattr(
            "stellwerk.operators.full_restore.restore_is_over", lambda _, run_id: run_id in self.over
        )

        def with_cluster(
            task: StellwerkOperator, run: ReleaseRun, step: Callable[..., Coroutine[Any, Any, Any]]
        ) -> Any:
            return task.wait_for(step(run, self.application))

        monkeypatch.setattr(StellwerkOperator, "with_cluster", with_cluster)

    def restorable(self) -> Any:
        return restorable(self.run, lambda: open_site(self.run), lambda: self.ledger)

    def orders(self, number: int) -> None:
        self.place.erp.do(*[ORDER] * number)

    def stated(self) -> dict[str, Any]:
        """State the loss; from now on the question is the one about that."""
        places = done(StateLoss)
        INSTANCE.map_index = next(index for index, place in enumerate(places) if not place["over"])
        INSTANCE.shown = ""
        return dict(self.ledger.entries(run_id=self.run.run_id, kinds=[RESTORE_STATED])[-1].payload)

    def be(self, run_id: str) -> None:
        """From now on the tasks are those of this run of rollback."""
        self.run = replace(self.run, run_id=run_id)

    def kinds(self, *kinds: str) -> list[str]:
        found = self.ledger.entries(run_id=self.run.run_id, kinds=kinds)
        return [entry.kind for entry in found]


@pytest.fixture
def world(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = demo_place(server, tmp_path, clients=str(installed_postgres() / "bin"))
    database = made.erp.database
    password = quote(database.password, safe="")
    url = f"postgres://{database.user}:{password}@{database.host}:{database.port}/{database.name}"
    monkeypatch.setenv("AIRFLOW_CONN_ERP", url)
    return World(made, monkeypatch)


def done(kind: Callable[..., Any], **more: Any) -> Any:
    if kind is StateLoss:
        more["asks"] = "ask"
    return kind(task_id="t", option="full-restore", reason="damaged", **more).execute(CONTEXT)


def question() -> str:
    """What a human is shown; the task asks once."""
    if not INSTANCE.shown:
        ask = AskRestore(task_id="ask")
        with pytest.raises(TaskAwaitingInput):
            ask.execute(CONTEXT)
        INSTANCE.shown = str(ask.body)
    return str(INSTANCE.shown)


def say(choice: str, digest: str, by: str = "anna") -> Any:
    """The task asks, and another process goes on with the answer."""
    assert question()
    answer = {
        "chosen_options": [choice],
        "params_input": {"reason": "the data are damaged", "statement": digest},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": by, "name": by},
        "timedout": False,
    }
    return AskRestore(task_id="ask").execute_complete(CONTEXT, answer)


def test_the_database_is_restored_once_a_human_has_confirmed_all_that_is_lost(world: World) -> None:
    assert "no migration of 3.0.0" in world.restorable().reason
    world.place.migrate()
    found = world.restorable()
    assert found.usable, found
    assert "is verified" in found.reason

    world.orders(2)
    stated = world.stated()
    assert "public.orders: at least 2 rows are lost (12 now, 10 in the backup)." in stated["sentences"]
    for task in (StopApplication, RestoreDatabase):
        with pytest.raises(AirflowFailException, match="nobody has confirmed what is lost"):
            done(task)
    assert world.application.sizes == {"blue": 2, "green": 3}, "nothing happens before a yes"
    assert "the application is stopped until the old version is back" in question()
    assert re.search(r"took \d+ seconds when it was verified: users are down for longer", question())
    say("Restore", stated["digest"])

    world.orders(1)  # until it is stopped, users work
    done(StopApplication)
    assert world.application.sizes == {"blue": 0, "green": 0}
    assert schema_proof(world.run, world.ledger) == "restoring"
    again = world.stated()
    assert "public.orders: at least 3 rows are lost (13 now, 10 in the backup)." in again["sentences"]
    with pytest.raises(AirflowFailException, match="nobody has confirmed"):
        done(RestoreDatabase)
    with pytest.raises(AirflowFailException, match="has not been restored"):
        done(BringBack)
    assert world.called == [], "nobody is down before that"
    assert question().startswith("**The application is stopped: users are down until you answer.**")
    assert "With your yes it stays so" in question()
    say("Restore", again["digest"], by="bo")
    assert set(world.called) == {"users are down: a full restore waits for a human's confirmation"}
    assert world.stated()["digest"] == again["digest"], "no more is lost than that"
    assert AskRestore(task_id="ask_again").execute(CONTEXT)["by"] == "bo"

    restored = done(RestoreDatabase)
    assert (world.place.erp.revisions(), world.place.rows("orders")) == (OLD, 10)
    assert restored["kept"] in world.place.databases()
    assert schema_proof(world.run, world.ledger) == "unchanged"
    for task in (StateLoss, StopApplication, RestoreDatabase, ResumeApplication):
        done(task)  # cleared, each finds that all is done
    assert world.application.sizes == {"blue": 0, "green": 0}, "the new version stays down"
    assert world.restorable().usable, "the run may go on to bring the old version back"
    assert world.kinds(RESTORED) == [RESTORED]


def test_who_starts_the_application_after_it_was_counted_again_loses_nothing_unsaid(world: World) -> None:
    world.place.migrate()
    world.orders(2)
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    world.stated()
    world.application.sizes = {"blue": 2, "green": 3}
    world.orders(500)
    with pytest.raises(AirflowFailException, match="at least 502 rows are lost, 2 were confirmed"):
        done(RestoreDatabase)
    assert world.application.sizes == {"blue": 0, "green": 0}
    assert (world.place.erp.revisions(), world.place.rows("orders")) == (NEW, 512)
    again = world.stated()
    say("Restore", again["digest"])
    restored = done(RestoreDatabase)
    assert world.place.rows("orders") == 10
    assert "public.orders: at least 502 rows are lost (512 now, 10 in the backup)." in restored["lost"]


def test_a_no_silence_and_an_answer_to_an_older_statement_change_nothing(world: World) -> None:
    world.place.migrate()
    databases = world.place.databases()
    for number, said in enumerate(("no", "silence", "the older one")):
        world.run = replace(world.run, run_id=f"rb{number}")
        first = world.stated()
        if said == "no":
            with pytest.raises(AirflowFailException, match="anna said Leave"):
                say("Leave", first["digest"])
            assert world.kinds(ROLLBACK_REFUSED) == [ROLLBACK_REFUSED], "which alarms nobody"
        elif said == "silence":
            gate = world.run.environment.gate.model_copy(update={"timeout_seconds": 0.01})
            world.run = replace(world.run, environment=world.run.environment.model_copy(update={"gate": gate}))
            assert question()
            time.sleep(0.05)
            with pytest.raises(AirflowFailException, match="no answer"):
                AskRestore(task_id="ask").execute_complete(CONTEXT, {"error": "late", "error_type": "timeout"})
            assert world.kinds(ROLLBACK_BLOCKED) == [ROLLBACK_BLOCKED], "which calls for humans"
        else:
            world.orders(1)
            world.stated()
            say("Restore", first["digest"])
        for task in (StopApplication, RestoreDatabase):
            with pytest.raises(AirflowFailException, match="nobody has confirmed what is lost"):
                done(task)
        done(ResumeApplication)
        assert world.application.sizes == {"blue": 2, "green": 3}
        assert (world.place.erp.revisions(), world.place.databases()) == (NEW, databases)


def test_a_restore_that_fails_leaves_the_application_and_its_database_as_they_were(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.place.migrate()
    databases = world.place.databases()
    say("Restore", world.stated()["digest"])
    done(StopApplication)

    killed_before_the_exchange(monkeypatch)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        world.place.erp.do("SELECT 1")
    done(ResumeApplication)
    assert world.application.sizes == {"blue": 2, "green": 3}
    assert (world.place.erp.revisions(), world.place.databases()) == (NEW, databases), "nothing of it is left"
    assert schema_proof(world.run, world.ledger) == "rehearsed"

    done(RestoreDatabase)  # cleared: it stops what was taken up, and the confirmation still holds
    assert world.application.sizes == {"blue": 0, "green": 0}
    assert len(world.kinds(RESTORE_STOPPED)) == 2
    assert world.place.erp.revisions() == OLD


def test_killed_after_the_exchange_the_new_version_is_not_taken_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.place.migrate()
    say("Restore", world.stated()["digest"])
    done(StopApplication)

    killed_after_the_exchange(world, monkeypatch)
    with pytest.raises(AirflowFailException, match="the rollback did not go on"):
        done(ResumeApplication)
    assert (world.application.sizes, world.place.erp.revisions()) == ({"blue": 0, "green": 0}, OLD)
    assert world.kinds(RESTORED) == [RESTORED], "what the server says is recorded"
    assert "the database is restored, and the rollback did not go on" in world.called[-1]
    assert done(RestoreDatabase)["by"] == "anna"


def test_a_second_run_leaves_what_the_first_one_goes_on_with(world: World) -> None:
    world.place.migrate()
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    world.be("rb2")
    for task in (StateLoss, ResumeApplication):
        with pytest.raises(AirflowFailException, match="run rb1 has stopped the application"):
            done(task)
    assert world.application.sizes == {"blue": 0, "green": 0}
    assert schema_proof(world.run, world.ledger) == "restoring"
    world.over.add("rb1")
    assert done(ResumeApplication)["needed"], "nobody else will"
    assert world.application.sizes == {"blue": 2, "green": 3}


def test_a_second_run_goes_on_with_what_the_first_one_has_left_behind(world: World) -> None:
    world.place.migrate()
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    world.over.add("rb1")
    world.be("rb2")
    say("Restore", world.stated()["digest"])
    assert done(StopApplication)["sizes"] == {"blue": 2, "green": 3}
    world.be("rb1")
    with pytest.raises(AirflowFailException, match="run rb2 has stopped the application"):
        done(RestoreDatabase)
    world.be("rb2")
    done(RestoreDatabase)
    assert world.place.erp.revisions() == OLD


def killed_after_the_exchange(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise DatabaseBusy("killed")

    with monkeypatch.context() as patched:
        patched.setattr("include.steps.database.restore_outcome.record", killed)
        with pytest.raises(AirflowException, match="killed"):
            done(RestoreDatabase)
    assert world.kinds(RESTORED) == []


def killed_before_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_: object, **__: object) -> None:
        raise DatabaseBusy("sessions do not end")

    with monkeypatch.context() as patched:
        patched.setattr("include.backup.exchange.drain", stuck)
        patched.setattr("include.backup.exchange.reopen", lambda *_: None)  # killed before it could
        with pytest.raises(AirflowException, match="sessions do not end"):
            done(RestoreDatabase)


@pytest.mark.parametrize("first", [StateLoss, ResumeApplication])
def test_a_second_run_finds_out_that_the_first_one_has_restored(
    world: World, monkeypatch: pytest.MonkeyPatch, first: type[StateLoss] | type[ResumeApplication]
) -> None:
    world.place.migrate()
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    killed_after_the_exchange(world, monkeypatch)
    world.over.add("rb1")
    world.be("rb2")
    with pytest.raises(AirflowFailException, match="clear the failed step of the restore in run rb1"):
        done(first)
    assert not done(ResumeApplication)["needed"], "the new version does not belong to the old schema"
    assert (world.application.sizes, world.place.erp.revisions()) == ({"blue": 0, "green": 0}, OLD)
    assert schema_proof(world.run, world.ledger) == "unchanged"
    assert world.kinds(RESTORED) == [], "it is the first one's"
    world.be("rb1")
    assert world.kinds(RESTORED) == [RESTORED]
    assert done(RestoreDatabase)["by"] == "anna"


def test_a_second_run_opens_what_the_first_one_has_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.place.migrate()
    databases = world.place.databases()
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    killed_before_the_exchange(monkeypatch)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        world.place.erp.do("SELECT 1")
    world.over.add("rb1")
    world.be("rb2")
    stated = world.stated()
    assert not any("cannot be read" in sentence for sentence in stated["sentences"])
    with pytest.raises(AirflowFailException, match="anna said Leave"):
        say("Leave", stated["digest"])
    done(ResumeApplication)
    assert world.application.sizes == {"blue": 2, "green": 3}
    assert (world.place.erp.revisions(), world.place.databases()) == (NEW, databases), "nothing of it is left"


def test_resume_opens_the_database_also_when_the_application_was_taken_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.place.migrate()
    say("Restore", world.stated()["digest"])
    done(StopApplication)
    killed_before_the_exchange(monkeypatch)
    record(world.ledger, world.run, RESTORE_RESUMED, {"sizes": {}}, number=99)
    world.application.sizes = {"blue": 2, "green": 3}
    assert not done(ResumeApplication)["needed"]
    assert world.place.erp.revisions() == NEW, "it lets users in"


def test_what_the_account_lacks_is_a_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.place.migrate()
    seen = TargetSeen("erp", exists=True, owned=False)
    with monkeypatch.context() as patched:
        patched.setattr("include.backup.restore.observe_target", lambda *_: seen)
        found = world.restorable()
    assert not found.usable
    assert "does not own the database erp" in found.reason
    other = a_run("rb1", backups="file:///nowhere/at/all")
    nowhere = restorable(other, lambda: open_site(other), lambda: world.ledger)
    assert not nowhere.usable
