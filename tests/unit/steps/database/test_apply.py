"""What is said of a migration that is not tried again, as the database looks at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.bluegreen.lease import LeaseState
from include.database.facts import DatabaseIdentity
from include.errors import MigrationBlocked, MigrationBusy, MigrationRefused, WrongDatabase
from include.ledger.store import Ledger
from include.steps.database import apply, backup, rest
from include.steps.database.apply import gave_up, migrate, migration_key
from include.steps.database.entries import BACKED_UP, BACKUP_PROVEN, TRIED_OUT, note, open_migration, own_intent
from include.steps.database.intent import before_an_attempt
from include.steps.database.traffic import Seen
from include.steps.record import all_recorded, record, recorded
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    TAKEN_BACK,
)
from include.steps.schema_proof import schema_proof
from tests.unit.steps.database import worlds
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")
INTENT = {"system": "7", "database": "erp", "current": ["b"], "before": "old", "backup": "b1"}
ERP = DatabaseIdentity(system_identifier="7", name="erp")
SITE = cast(Any, SimpleNamespace(database=None, tree=None))


class Live:
    """The database as it is found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system, self.revisions, self.fingerprint = "7", ["b"], "old"
        self.busy = False
        self.alone = False
        self.done: list[str] = []
        monkeypatch.setattr(rest, "connection", self.connection)
        monkeypatch.setattr(rest, "state", self.state)
        monkeypatch.setattr(rest, "schema_now", self.schema)
        monkeypatch.setattr(rest, "at_rest", self.at_rest)
        monkeypatch.setattr(rest, "the_table", lambda _, found: found)

    @contextmanager
    def connection(self, _: object) -> Iterator[Any]:
        yield None

    @contextmanager
    def at_rest(self, _: object, key: str) -> Iterator[None]:
        self.done.append(key)
        if self.busy:
            raise MigrationBusy("another migration is running in this database")
        self.alone = True
        yield
        self.alone = False

    def state(self, _: object) -> Any:
        identity = DatabaseIdentity(system_identifier=self.system, name="erp")
        return SimpleNamespace(identity=identity, revisions=self.revisions)

    def schema(self, _: object) -> Any:
        assert self.alone, "what is seen beside another migration is not what will be"
        return SimpleNamespace(fingerprint=self.fingerprint)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    return Live(monkeypatch)


def test_the_old_state_is_recorded_once_nothing_of_the_run_is_left(live: Live) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    assert gave_up(RUN, SITE, ledger) == {"old": True, "revisions": ["b"]}
    assert live.done == [migration_key(RUN)]
    entry = recorded(ledger, RUN, LEFT_OLD)
    assert entry is not None
    assert entry.payload == {"revisions": ["b"], "fingerprint": "old", "backup": "b1"}


IN_BATCHES = {**INTENT, "target": ["c"], "plan": [["c", True]], "unseen": ["c"]}


def test_rows_that_may_have_been_changed_unseen_are_not_nothing(live: Live) -> None:
    ledger = a_ledger()
    intent = record(ledger, RUN, MIGRATION_INTENDED, IN_BATCHES)
    before_an_attempt(RUN, ledger, intent)
    with pytest.raises(MigrationRefused, match=r"rows may have been changed.*clear migrate.*restore backup b1"):
        gave_up(RUN, SITE, ledger)
    assert recorded(ledger, RUN, LEFT_OLD) is None
    assert (schema_proof(RUN, ledger), open_migration(ledger, RUN)) == ("unproven", intent)
    assert own_intent(ledger, RUN) == intent, "it goes on with the backup that it began with"
    live.revisions = ["c"]
    assert gave_up(RUN, SITE, ledger) == {"old": False, "revisions": ["c"]}


def test_a_first_step_that_nobody_has_begun_has_changed_no_rows(live: Live) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, IN_BATCHES)
    assert gave_up(RUN, SITE, ledger)["old"]


@pytest.mark.parametrize("changed", [{"unseen": []}, {"plan": [["x", True], ["c", True]]}])
def test_a_first_step_that_is_seen_is_looked_at(live: Live, changed: dict[str, Any]) -> None:
    ledger = a_ledger()
    before_an_attempt(RUN, ledger, record(ledger, RUN, MIGRATION_INTENDED, {**IN_BATCHES, **changed}))
    assert gave_up(RUN, SITE, ledger)["old"]


def test_while_another_migration_runs_nothing_is_said(live: Live) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    live.busy = True
    with pytest.raises(MigrationBusy):
        gave_up(RUN, SITE, ledger)
    assert recorded(ledger, RUN, LEFT_OLD) is None


@pytest.mark.parametrize(("revisions", "fingerprint"), [(["c"], "old"), (["b"], "another")])
def test_another_state_is_not_the_old_one(live: Live, revisions: list[str], fingerprint: str) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    live.revisions, live.fingerprint = revisions, fingerprint
    assert gave_up(RUN, SITE, ledger) == {"old": False, "revisions": revisions}
    assert recorded(ledger, RUN, LEFT_OLD) is None


def test_in_another_database_nothing_is_ended_and_nothing_said(live: Live) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    live.system = "8"
    with pytest.raises(WrongDatabase):
        gave_up(RUN, SITE, ledger)
    assert (live.done, recorded(ledger, RUN, LEFT_OLD)) == ([], None)


def test_a_migration_that_has_ended_is_not_given_up(live: Live) -> None:
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    record(ledger, RUN, MIGRATED, {})
    assert gave_up(RUN, SITE, ledger) == {"old": False, "revisions": ["b"]}
    assert recorded(ledger, RUN, LEFT_OLD) is None


# -- begun anew ----------------------------------------------------------------------------------------------


class Anew:
    """Everything before and behind the intent of a migration, as far as it is not the subject."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.blocked = True
        plan = SimpleNamespace(identity=ERP, current=["b"], target=["c"], plan=("c",))
        found = SimpleNamespace(
            preflight=plan,
            before=SimpleNamespace(fingerprint="old"),
            inspection=SimpleNamespace(env_digest="e"),
            forward=(),
            job=lambda _: SimpleNamespace(graph=None),
        )
        monkeypatch.setattr(apply, "decided_about", lambda run, _: run)
        monkeypatch.setattr(apply, "require_approval", lambda *_: self.asked.append("approval"))
        monkeypatch.setattr(apply, "reading", lambda _: nullcontext())
        monkeypatch.setattr(apply, "must_be_as_surveyed", lambda *_: self.asked.append("survey") or found)
        monkeypatch.setattr(apply, "must_be_fresh", lambda *_: self.asked.append("backup"))
        monkeypatch.setattr(apply, "_must_hold", lambda *_: None)
        monkeypatch.setattr(apply, "described", lambda *_: {})
        monkeypatch.setattr(apply, "kept_schemas", lambda *_: SimpleNamespace(before=None, after=None))
        monkeypatch.setattr(apply, "job_of", lambda *_, **__: (None, None))
        monkeypatch.setattr(apply, "Migration", self.migration)

    def migration(self, *_: object, permit: Any) -> Any:
        def run() -> Any:
            permit()
            if self.blocked:
                raise MigrationBlocked("revision c did not get its locks")
            return SimpleNamespace(record=lambda: {"revisions": ["c"], "fingerprint": "new"})

        return SimpleNamespace(run=run)


def test_after_a_lock_that_was_not_to_be_had_the_same_run_begins_anew(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, ledger = Anew(monkeypatch), a_ledger()
    site = cast(Any, SimpleNamespace(database=None, tree=None, store=None))
    note(ledger, RUN, TRIED_OUT, {**worlds.TRIED, "schemas": {}})

    def secured(number: int) -> None:
        payload = {"purpose": "safety", "backup": f"b{number}", "sha256": "s"}
        record(ledger, RUN, BACKED_UP, payload, number=number)
        record(ledger, RUN, BACKUP_PROVEN, payload, number=number)

    secured(1)
    with pytest.raises(MigrationBlocked):
        migrate(RUN, site, ledger)
    assert prepared(ledger) == "b1"
    world.asked.clear()
    with pytest.raises(MigrationBlocked):
        migrate(RUN, site, ledger)
    assert world.asked == [], "a try that goes on asks nobody again"
    assert gave_up(RUN, site, ledger)["old"]
    assert prepared(ledger) is None, "another backup may be taken"
    secured(2)
    world.blocked = False
    assert migrate(RUN, site, ledger)["backup"] == "b2"
    assert world.asked == ["approval", "survey", "backup"]
    began = open_migration(ledger, RUN)
    assert began is not None
    assert (began.payload["backup"], len(all_recorded(ledger, RUN, MIGRATION_INTENDED))) == ("b2", 2)


def test_under_a_release_that_is_under_way_nothing_begins_and_nothing_goes_on(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, ledger = Anew(monkeypatch), a_ledger()
    site = cast(Any, SimpleNamespace(database=None, tree=None, store=None))
    note(ledger, RUN, TRIED_OUT, {**worlds.TRIED, "schemas": {}})
    record(ledger, RUN, BACKUP_PROVEN, {"purpose": "safety", "backup": "b1", "sha256": "s"})
    record(ledger, RUN, BACKED_UP, {"purpose": "safety", "backup": "b1", "sha256": "s"})
    renewed = datetime(2030, 5, 1, 9, tzinfo=UTC)
    held = Seen(None, LeaseState("lease", worlds.a_hotfix().release_id, renewed, renewed, 600))
    seen = held
    asked = {"traffic": lambda: seen, "now": lambda: renewed}
    with pytest.raises(MigrationRefused, match="under a release that is under way"):
        migrate(RUN, site, ledger, **asked)  # type: ignore[arg-type]
    assert recorded(ledger, RUN, MIGRATION_INTENDED) is None
    seen = Seen(None, None)
    with pytest.raises(MigrationBlocked):
        migrate(RUN, site, ledger, **asked)  # type: ignore[arg-type]
    seen, world.blocked = held, False
    with pytest.raises(MigrationRefused, match="under a release that is under way"):
        migrate(RUN, site, ledger, **asked)  # type: ignore[arg-type]
    assert recorded(ledger, RUN, MIGRATED) is None


def prepared(ledger: Ledger) -> str | None:
    """The backup that the run's migration relies on."""
    found = backup._relied_on(RUN, ledger)
    return str(found.payload["backup"]) if found else None


def test_what_others_have_taken_back_since_is_not_begun_anew(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    Anew(monkeypatch)
    ledger = a_ledger()
    record(ledger, RUN, MIGRATION_INTENDED, INTENT)
    gave_up(RUN, SITE, ledger)
    record(ledger, a_run("r2"), TAKEN_BACK, {})
    with pytest.raises(MigrationRefused, match="has been undone"):
        migrate(RUN, SITE, ledger)
