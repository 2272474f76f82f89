"""A ledger of one process, for tests whose subject is not the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Memory:
    """A ledger of this process."""

    written: list[Any] = field(default_factory=list)

    def append(self, new: Any) -> Any:
        for entry in self.written:
            if entry.key == new.key:
                return entry
        self.written.append(new)
        return new

    def entries(self, *, kinds: tuple[str, ...], **_: object) -> tuple[Any, ...]:
        return tuple(entry for entry in self.written if entry.kind in kinds)
