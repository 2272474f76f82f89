"""What is stated of a database that cannot be read, or could not at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from include.backup import restore
from include.backup.copies import Workshop
from include.database.connection import Database
from include.errors import DatabaseError, DatabaseRefused, DatabaseUnreachable

ERP = Database("db", 5432, "erp", "erp")
WORKSHOP = Workshop(cast(Any, None), cast(Any, None))


class Server:
    """Gives the prepared answers, then counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: DatabaseError) -> None:
        self.answers = list(answers)
        self.slept: list[float] = []
        monkeypatch.setattr(restore, "session", self.session)
        monkeypatch.setattr(restore, "count_now", lambda *_, **__: {"orders": 3})
        monkeypatch.setattr(restore.time, "sleep", self.slept.append)

    @contextmanager
    def session(self, *_: object, **__: object) -> Iterator[None]:
        if self.answers:
            raise self.answers.pop(0)
        yield None


def test_a_connection_that_broke_is_no_database_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, *(DatabaseUnreachable("the connection broke") for _ in range(3)))
    assert restore._rows_now(ERP, WORKSHOP) == {"orders": 3}
    assert len(server.slept) == 3


def test_one_that_breaks_each_time_keeps_nobody_from_restoring(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, *(DatabaseUnreachable("the connection broke") for _ in range(9)))
    assert restore._rows_now(ERP, WORKSHOP) is None
    assert len(server.slept) == 3


@pytest.mark.parametrize("error", [DatabaseRefused("no"), DatabaseError("invalid page in block 3")])
def test_what_says_no_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, error: DatabaseError) -> None:
    server = Server(monkeypatch, error)
    assert restore._rows_now(ERP, WORKSHOP) is None
    assert server.slept == []
