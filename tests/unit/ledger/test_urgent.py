"""A ledger that hangs costs whoever is in a hurry a few seconds, once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

import include.ledger.urgent as module
from include.errors import LedgerError, LedgerUnavailable
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.ledger.urgent import UrgentLedger, urgent
from tests.memory import MemoryLedger

NEW = NewEntry("message.sent", "3.0.0", "production", "run", "stellwerk", {"a": 1}, key="key")


class Hung(MemoryLedger):
    """Gives no answer at all, and counts who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.released = threading.Event()

    def _hang(self) -> Any:
        self.asked += 1
        self.released.wait(30)

    def find(self, key: str) -> Any:
        return self._hang()

    def entries(self, **_: Any) -> Any:
        return self._hang()

    def head(self) -> Any:
        return self._hang()

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        self._hang()
        yield True


def as_ledger(double: MemoryLedger) -> Ledger:
    return cast("Ledger", double)


def test_what_answers_is_passed_on() -> None:
    memory = MemoryLedger()
    ledger = UrgentLedger(as_ledger(memory))
    with ledger.alone("key") as locked:
        assert locked
        entry = ledger.append(NEW)
    assert ledger.find("key") == entry == memory.written[0]
    assert ledger.entries(release="3.0.0", kinds=("message.sent",)) == (entry,)
    assert ledger.entries(release="2.9.0") == ()
    assert ledger.head().sequence == 1


def test_one_that_hangs_is_waited_for_once_whatever_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.6)
    hung = Hung()
    ledger = UrgentLedger(as_ledger(hung))
    began = time.monotonic()
    try:
        for ask in (ledger.head, ledger.entries, lambda: ledger.find("key"), lambda: ledger.append(NEW)):
            with pytest.raises(LedgerUnavailable):
                ask()
        with pytest.raises(LedgerUnavailable), ledger.alone("key"):
            pytest.fail("nobody knows whether somebody else is at it")
        assert time.monotonic() - began < 2.4, "each of five was waited for"
        assert (hung.asked, hung.written) == (1, [])
    finally:
        hung.released.set()


def test_what_it_refuses_is_no_reason_to_ask_no_more() -> None:
    class Refusing(MemoryLedger):
        def find(self, key: str) -> Any:
            raise LedgerError("the ledger's database refused")

    ledger = UrgentLedger(as_ledger(Refusing()))
    with pytest.raises(LedgerError, match="refused"):
        ledger.find("key")
    assert ledger.head().sequence == 0


def test_a_lock_that_cannot_be_let_go_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    released = threading.Event()

    class Clinging(MemoryLedger):
        @contextmanager
        def alone(self, what: str) -> Iterator[bool]:
            yield True
            released.wait(30)

    began = time.monotonic()
    with UrgentLedger(as_ledger(Clinging())).alone("key") as locked:
        assert locked
    assert time.monotonic() - began < 10
    released.set()


def test_a_database_that_takes_connections_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        real = Ledger(f"postgresql://anybody:secret@127.0.0.1:{server.getsockname()[1]}/ledger")
        ledger, began = UrgentLedger(real), time.monotonic()
        for _ in range(5):
            with pytest.raises(LedgerUnavailable) as caught:
                ledger.find("key")
        assert time.monotonic() - began < 2, "each of five was waited for"
        assert caught.value.retryable


def test_it_is_in_a_hurry_once() -> None:
    hurried = urgent(as_ledger(MemoryLedger()))
    assert isinstance(hurried, UrgentLedger)
    assert urgent(hurried) is hurried
    assert urgent(None) is None
