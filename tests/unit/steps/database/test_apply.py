"""What is said of a migration that is not tried again, as the database looks at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.database.facts import DatabaseIdentity
from include.errors import MigrationBusy, WrongDatabase
from include.steps.database import rest
from include.steps.database.apply import gave_up, migration_key
from include.steps.record import record, recorded
from include.steps.schema_proof import LEFT_OLD, MIGRATED, MIGRATION_INTENDED
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")
INTENT = {"system": "7", "database": "erp", "current": ["b"], "before": "old", "backup": "b1"}
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
