"""What is dropped of what killed processes have left, and what of a verification's databases is ours."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from include.backup import abandoned
from include.backup.abandoned import drop_abandoned
from include.backup.verify import is_scratch_of, scratch_name
from include.database.marks import marked

OURS, LIVE, OWN, OTHERS = "copy killed", "copy running", "copy own", "theirs"


def ours(name: str, comment: str) -> bool:
    return name.startswith("copy ") and comment == f"of {name}"


def lock(name: str) -> str:
    return f"lock of {name}"


class Server:
    """Databases, the locks that others hold, and what cannot be dropped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.names = list(names)
        self.held = {lock(LIVE)}
        self.mine: list[str] = []
        self.refuses = False
        for function in (self.try_lock, self.unlock, self.drop):
            monkeypatch.setattr(abandoned, function.__name__, function)

    def execute(self, _: str) -> Any:
        return SimpleNamespace(fetchall=lambda: [(name, f"of {name}") for name in self.names])

    def try_lock(self, _: object, what: str) -> bool:
        self.mine += [] if what in self.held else [what]
        return what not in self.held

    def unlock(self, _: object, what: str) -> None:
        self.mine.remove(what)

    def drop(self, _: object, name: str) -> None:
        assert self.mine == [lock(name)], "whoever begins to work with it now has to wait"
        if self.refuses:
            raise psycopg.errors.InsufficientPrivilege("must be owner of database")
        self.names.remove(name)


def test_a_database_is_dropped_when_nobody_works_with_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, "erp", OURS, LIVE, OWN, OTHERS)
    assert drop_abandoned(cast(Any, server), ours, lock, but=OWN) == (OURS,)
    assert (server.names, server.mine) == (["erp", LIVE, OWN, OTHERS], [])


def test_one_that_cannot_be_dropped_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, OURS)
    server.refuses = True
    assert drop_abandoned(cast(Any, server), ours, lock, but=OWN) == ()
    assert (server.names, server.mine) == ([OURS], [])


def test_of_the_databases_of_verifications_ours_are_those_beside_our_own() -> None:
    name = scratch_name("one")
    mark = hashlib.sha256(f"{name} erp".encode()).hexdigest()[:12]
    assert is_scratch_of("erp", name, marked("the ERP", "restoring", mark))
    assert not is_scratch_of("erp_staging", name, marked("the ERP", "restoring", mark))
    assert not is_scratch_of("erp", name, "")
    assert not is_scratch_of("erp", "by hand", marked("", "restoring", mark))
