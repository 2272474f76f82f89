"""Copies that killed rehearsals have left: which are ours, and with which nobody works any more."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from include.database.marks import marked
from include.steps.database import copy
from include.steps.database.copy import copies_of, copy_name, drop_abandoned


def comment(name: str) -> str:
    """As a copy bears it, behind that of the database it was made from."""
    return marked("the ERP", "restoring", hashlib.sha256(name.encode()).hexdigest()[:12])


OURS, LIVE, OWN = (copy_name("erp", run) for run in ("killed", "running", "own"))
OTHERS = copy_name("erp_staging", "killed")


def test_only_what_bears_the_mark_of_its_own_name_is_a_copy() -> None:
    by_hand = "erp_rehearsal_0123456789"
    found = [
        ("erp", ""),
        (OURS, comment(OURS)),
        (OTHERS, comment(OTHERS)),
        (by_hand, ""),
        (by_hand, comment(OURS)),
        ("erp_rehearsal_2030", comment("erp_rehearsal_2030")),
    ]
    assert copies_of("erp", found) == (OURS,)
    assert copies_of("erp_staging", found) == (OTHERS,)
    cut = copy_name("x" * 63, "r")
    assert copies_of("x" * 63, [(cut, comment(cut))]) == (), "another one's name may be cut alike"


class Server:
    """Databases, the locks that others hold, and what cannot be dropped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.names = list(names)
        self.held = {f"rehearsal {LIVE}"}
        self.mine: list[str] = []
        self.refuses = False
        for function in (self.try_lock, self.unlock, self.drop):
            monkeypatch.setattr(copy, function.__name__, function)

    def execute(self, _: str) -> Any:
        return SimpleNamespace(fetchall=lambda: [(name, comment(name)) for name in self.names])

    def try_lock(self, _: object, what: str) -> bool:
        self.mine += [] if what in self.held else [what]
        return what not in self.held

    def unlock(self, _: object, what: str) -> None:
        self.mine.remove(what)

    def drop(self, _: object, name: str) -> None:
        assert self.mine == [f"rehearsal {name}"], "whoever begins to work with it now has to wait"
        if self.refuses:
            raise psycopg.errors.InsufficientPrivilege("must be owner of database")
        self.names.remove(name)


def test_a_copy_is_dropped_when_nobody_works_with_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, "erp", OURS, LIVE, OWN, OTHERS)
    assert drop_abandoned(cast(Any, server), "erp", but=OWN) == (OURS,)
    assert (server.names, server.mine) == (["erp", LIVE, OWN, OTHERS], [])


def test_a_copy_that_cannot_be_dropped_stops_no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, OURS)
    server.refuses = True
    assert drop_abandoned(cast(Any, server), "erp", but=OWN) == ()
    assert (server.names, server.mine) == ([OURS], [])
