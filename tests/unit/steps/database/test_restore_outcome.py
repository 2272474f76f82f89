"""How a restore has ended is found out from the mark that the server shows, whichever run has begun it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import pytest

from include.backup.loss import RestoreLoss
from include.backup.swap import names
from include.ledger.store import Ledger
from include.steps.database import restore_outcome
from include.steps.database.confirm import confirm
from include.steps.database.entries import RESTORE_STATED
from include.steps.database.restore_outcome import record_restored, settle_restores
from include.steps.database.site import Site
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import RESTORE_STOPPED, RESTORED
from tests.unit.steps.database.test_full_restore import NOON, a_loss
from tests.unit.steps.database.worlds import a_ledger, a_run


class Server:
    """Bears one mark, and tells what it was asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mark = ""
        self.stated: set[str] = set()
        monkeypatch.setattr(restore_outcome, "settle", self.settle)

    def settle(self, *given: Any) -> str:
        stated: Collection[str] = given[2]
        self.stated = set(stated)
        return self.mark


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def opened() -> Site:
    return cast("Site", type("Any", (), {"database": None, "workshop": None}))


def never() -> Site:
    raise AssertionError("nothing was begun, so nobody opens database or store")


def state(ledger: Ledger, run: ReleaseRun, minutes: float) -> RestoreLoss:
    statement = a_loss({"orders": (1, 2)}, minutes=minutes)
    payload = {"digest": statement.digest, "statement": statement.model_dump_json()}
    record(ledger, run, RESTORE_STATED, payload, number=statement.digest[:16])
    return statement


def test_where_nothing_was_begun_nobody_looks(server: Server) -> None:
    ledger = a_ledger()
    state(ledger, a_run("rb1"), 0)
    assert settle_restores(a_run("rb2"), ledger, never) is None
    assert server.stated == set()


def test_a_restore_that_another_run_could_not_record_is_recorded_as_that_runs(server: Server) -> None:
    first, second, ledger = a_run("rb1"), a_run("rb2"), a_ledger()
    statement, again = state(ledger, first, 0), state(ledger, second, 5)
    confirm(ledger, first, {"digest": statement.digest, "by": "anna", "reason": "damaged"}, at=NOON)
    record(ledger, first, RESTORE_STOPPED, {"sizes": {}})
    assert settle_restores(second, ledger, opened) is None, "nothing is in place"
    assert server.stated == {names(statement).mark, names(again).mark}
    server.mark = names(statement).mark
    done = settle_restores(second, ledger, opened)
    assert done is not None
    assert (done.run_id, done.payload["by"], done.payload["kept"]) == ("rb1", "anna", names(statement).kept)
    assert record_restored(first, ledger, statement, statement) == done, "told twice it is one fact"
    assert all_recorded(ledger, second, RESTORED) == ()


def test_a_restore_that_is_known_ends_no_later_stop(server: Server) -> None:
    first, second, ledger = a_run("rb1"), a_run("rb2"), a_ledger()
    server.mark = names(statement := state(ledger, first, 0)).mark
    record_restored(first, ledger, statement, statement)
    again = state(ledger, second, 5)
    assert settle_restores(second, ledger, opened) is None
    assert server.stated == {names(again).mark}
