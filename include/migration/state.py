"""Where a database stands: which one it is, its revision sets, what a migration has made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from include.database.facts import DatabaseIdentity
from include.database.revisions import VersionTable

_SHOWN: Final = 10
_WAY_BACK: Final = {"old": "way back not begun", "target": "back", "between": "way back not ended"}


@dataclass(frozen=True)
class DatabaseState:
    """What was read from a database at one moment.

    :param version: of the server, for example 160013
    :param tables: every version table, in all schemas
    """

    identity: DatabaseIdentity
    version: int
    tables: tuple[VersionTable, ...]


@dataclass(frozen=True)
class Declared:
    """Where a database stands, said so that a human or a later task can go on from it.

    :param kind: ``old`` and ``target`` are the two ends, as revisions and schema tell, which know nothing of rows
        (see :mod:`include.migration.unseen`); ``between`` is exactly the revisions named; ``altered`` is the old
        revision set with a schema that is not the old one; ``elsewhere`` is a set on no way from the one end to
        the other; ``unknown`` means that nobody could look
    :param differences: what the schema has in another way than at the start, where that says something
    :param up: whether it is a way up; of a way back other words are said, which nobody can take for its contrary
    """

    kind: Literal["old", "target", "between", "altered", "elsewhere", "unknown"]
    revisions: frozenset[str] = frozenset()
    differences: tuple[str, ...] = ()
    up: bool = True

    @property
    def word(self) -> str:
        """The kind in words, for humans and for the ledger."""
        return self.kind if self.up else _WAY_BACK.get(self.kind, self.kind)

    def __str__(self) -> str:
        if self.kind == "unknown":
            return "unknown, it gave no answer"
        differences = f", but {', '.join(self.differences[:_SHOWN])}" if self.differences else ""
        more = f" and {len(self.differences) - _SHOWN} more" if len(self.differences) > _SHOWN else ""
        return f"{self.word}, at {shown(self.revisions)}{differences}{more}"


def shown(revisions: Iterable[str]) -> str:
    """A revision set for humans."""
    return ", ".join(sorted(revisions)) or "no revision at all"
