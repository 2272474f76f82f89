"""A ledger of this process, for tests whose subject is not the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any


@dataclass
class MemoryLedger:
    """Appends once for each key, and finds what was appended."""

    written: list[Any] = field(default_factory=list)

    def append(self, new: Any) -> Any:
        for entry in self.written:
            if new.key is not None and entry.key == new.key:
                return entry
        entry = SimpleNamespace(**vars(new))
        entry.sequence = len(self.written) + 1
        entry.at = new.at or datetime.now(UTC)
        entry.payload = dict(new.payload)
        self.written.append(entry)
        return entry

    def entries(self, *, kinds: Sequence[str] | None = None, **wanted: str | None) -> tuple[Any, ...]:
        return tuple(
            entry
            for entry in self.written
            if (kinds is None or entry.kind in kinds)
            and all(value is None or getattr(entry, name) == value for name, value in wanted.items())
        )
