"""The ledger for what waits for nobody: it answers within seconds, or is not asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from include.errors import LedgerUnavailable
from include.ledger.entry import Entry, Head, NewEntry
from include.ledger.examination import Examination
from include.ledger.store import Ledger

T = TypeVar("T")

SECONDS: Final = 3.0
"""That an urgent step waits for the ledger, all its calls together, when the ledger gives no answer at all."""


class UrgentLedger(Ledger):
    """Another ledger, seen by somebody in a hurry.

    A call that has no answer after :data:`SECONDS` is given up, whatever it hangs on, and every later one at once:
    what is told in many calls waits for a hung database only once. What was given up may still be carried out.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._asked = ledger
        self._gave_up: LedgerUnavailable | None = None

    def append(self, new: NewEntry) -> Entry:
        """See :meth:`Ledger.append`."""
        return self._answer(partial(self._asked.append, new))

    def entries(
        self,
        *,
        release: str | None = None,
        environment: str | None = None,
        run_id: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> tuple[Entry, ...]:
        """See :meth:`Ledger.entries`."""
        asked = self._asked.entries
        return self._answer(partial(asked, release=release, environment=environment, run_id=run_id, kinds=kinds))

    def find(self, key: str) -> Entry | None:
        """See :meth:`Ledger.find`."""
        return self._answer(partial(self._asked.find, key))

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """See :meth:`Ledger.alone`."""
        place = self._asked.alone(what)
        locked = self._answer(place.__enter__)
        try:
            yield locked
        finally:
            # The lock ends with its connection, which a hung server may keep from being closed.
            with suppress(LedgerUnavailable):
                self._in_time(lambda: place.__exit__(None, None, None))

    def head(self) -> Head:
        """See :meth:`Ledger.head`."""
        return self._answer(self._asked.head)

    def examine(self, heads: Sequence[Head] = ()) -> Examination:
        """See :meth:`Ledger.examine`."""
        return self._answer(partial(self._asked.examine, heads))

    def _answer(self, call: Callable[[], T]) -> T:
        if self._gave_up is not None:
            raise LedgerUnavailable(self._gave_up.what, seen="asked before", remedy=self._gave_up.remedy)
        try:
            return self._in_time(call)
        except LedgerUnavailable as error:
            self._gave_up = error
            raise

    def _in_time(self, call: Callable[[], T]) -> T:
        answer: list[T] = []
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                answer.append(call())
            except BaseException as error:  # noqa: BLE001 - handed on to the caller below
                failed.append(error)

        # A daemon: whoever waits for nothing must not be kept from ending by it either.
        thread = threading.Thread(target=ask, name="urgent-ledger", daemon=True)
        thread.start()
        thread.join(SECONDS)
        if failed:
            raise failed[0]
        if not answer:
            raise LedgerUnavailable(
                "the ledger's database gives no answer",
                expected=f"one within {SECONDS:g} s",
                seen="none",
                remedy="bring the database back; the step can then be repeated",
            )
        return answer[0]


def urgent(ledger: Ledger | None) -> Ledger | None:
    """The ledger for a step that must not wait; None where it cannot even be opened."""
    return ledger if ledger is None or isinstance(ledger, UrgentLedger) else UrgentLedger(ledger)
