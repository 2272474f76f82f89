"""A ledger of one process, for tests whose subject is not the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from include.errors import LedgerUnavailable
from include.ledger.chain import GENESIS
from include.ledger.entry import Entry, Head, NewEntry, canonical


@dataclass
class MemoryLedger:
    """Appends once for each key, and finds what was appended."""

    written: list[Entry] = field(default_factory=list)

    def append(self, new: NewEntry) -> Entry:
        for entry in self.written:
            if new.key is not None and entry.key == new.key:
                return entry
        now = datetime.now(UTC)
        entry = Entry(
            sequence=len(self.written) + 1,
            kind=new.kind,
            release=new.release,
            environment=new.environment,
            run_id=new.run_id,
            actor=new.actor,
            key=new.key,
            at=new.at or now,
            recorded_at=now,
            payload_json=canonical(new.payload_object()),
            previous="",
            hash="",
        )
        self.written.append(entry)
        return entry

    def find(self, key: str) -> Entry | None:
        return next((entry for entry in self.written if entry.key == key), None)

    def head(self) -> Head:
        return Head(len(self.written), GENESIS)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        yield bool(what)

    def entries(self, *, kinds: Sequence[str] | None = None, **wanted: str | None) -> tuple[Entry, ...]:
        return tuple(
            entry
            for entry in self.written
            if (kinds is None or entry.kind in kinds)
            and all(value is None or getattr(entry, name) == value for name, value in wanted.items())
        )


@dataclass
class DyingLedger(MemoryLedger):
    """Gives so many answers, then none any more, as a ledger whose database goes down.

    :param answers: 0 for one that is down from the beginning
    """

    answers: int = 0

    def _answer(self) -> None:
        if self.answers <= 0:
            raise LedgerUnavailable("the ledger's database gives no answer")
        self.answers -= 1

    def append(self, new: NewEntry) -> Entry:
        self._answer()
        return super().append(new)

    def find(self, key: str) -> Entry | None:
        self._answer()
        return super().find(key)

    def head(self) -> Head:
        self._answer()
        return super().head()

    def entries(self, *, kinds: Sequence[str] | None = None, **wanted: str | None) -> tuple[Entry, ...]:
        self._answer()
        return super().entries(kinds=kinds, **wanted)
