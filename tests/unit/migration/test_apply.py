"""The loop of a migration: what is asked before each attempt. What it does is tests/contract/test_migration_*."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.errors import MigrationRefused
from include.migration import apply
from include.migration.apply import Migration, _Ending
from include.migration.job import Limits
from tests.unit.migration.test_job import job

BLOCKED = {"event": "failed", "kind": "sql", "sqlstate": "55P03", "message": "lock timeout"}
MOVED = {"event": "failed", "kind": "moved", "message": "the database is elsewhere"}
FINISHED = {"event": "finished"}


class Server:
    """The database: its revision, and how each attempt ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *endings: dict[str, str]) -> None:
        self.at = "a"
        self.endings = list(endings)
        self.attempts = 0
        for name in ("prepare", "end_backends", "end_leftovers", "not_recorded"):
            monkeypatch.setattr(apply, name, lambda *_: None)
        monkeypatch.setattr(apply, "connection", self.connection)
        monkeypatch.setattr(apply, "state", lambda _: SimpleNamespace(identity=job().identity))
        monkeypatch.setattr(apply, "schema_now", lambda _: job().before)
        monkeypatch.setattr(apply, "the_table", lambda *_: SimpleNamespace(revisions=frozenset({self.at})))
        monkeypatch.setattr(Migration, "_attempt", self.attempt)

    @contextmanager
    def connection(self, _: object) -> Iterator[Any]:
        yield None

    def attempt(self, *_: object) -> _Ending:
        self.attempts += 1
        ending = self.endings.pop(0)
        if ending == FINISHED:
            self.at = "c"
        return _Ending(ending, {}, ())


def migration(asked: list[str], *, no_more_after: int = 99) -> Migration:
    def permit() -> None:
        asked.append("asked")
        if len(asked) > no_more_after:
            raise MigrationRefused("it has been taken back")

    quick = replace(job(), limits=Limits(pause=0))
    return Migration(quick, cast(Any, None), permit=permit)


@pytest.mark.parametrize("ending", [BLOCKED, MOVED])
def test_before_each_attempt_it_is_asked_whether_it_is_still_wanted(
    monkeypatch: pytest.MonkeyPatch, ending: dict[str, str]
) -> None:
    server = Server(monkeypatch, ending, FINISHED)
    asked: list[str] = []
    with pytest.raises(MigrationRefused, match="taken back"):
        migration(asked, no_more_after=1).run()
    assert (server.attempts, server.at) == (1, "a"), "nothing goes up again after a pause"


def test_it_is_asked_before_the_end_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, FINISHED)
    asked: list[str] = []
    with pytest.raises(MigrationRefused, match="taken back"):
        migration(asked, no_more_after=1).run()
    Server(monkeypatch, BLOCKED, FINISHED)
    asked.clear()
    assert migration(asked).run().state.kind == "target"
    assert len(asked) == 3
