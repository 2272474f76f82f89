"""Where a database stands: which one it is, its revision sets, its schema as an inventory. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

_SHOWN: Final = 10


@dataclass(frozen=True)
class Identity:
    """Which database it is, whatever the address says.

    :param system: PostgreSQL's ``system_identifier`` of the server's data
    :param name: of the database
    """

    system: str
    name: str

    @property
    def shown(self) -> str:
        """For humans."""
        return f"database {self.name!r} of system {self.system}"


@dataclass(frozen=True)
class VersionTable:
    """A table in which Alembic keeps revisions.

    :param length: most characters of ``version_num``; None means any
    :param readable: whether our role may read it; where it may not, nobody knows its revisions
    """

    schema: str
    name: str
    length: int | None
    revisions: frozenset[str]
    readable: bool = True


@dataclass(frozen=True)
class DatabaseState:
    """What was read from a database at one moment.

    :param version: of the server, for example 160013
    :param tables: every version table, in all schemas
    """

    identity: Identity
    version: int
    tables: tuple[VersionTable, ...]


@dataclass(frozen=True)
class Inventory:
    """The schema of a database: every object of all schemas with its definition.

    :param objects: ``kind schema.name`` → definition; without owners, privileges and the version tables
    :param invalid: indexes that a stopped concurrent build has left, as ``schema.name``, quoted as SQL needs it
    """

    objects: Mapping[str, str]
    invalid: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of the schema: equal for equal schemas, wherever and in whatever order they were made."""
        text = json.dumps(dict(sorted(self.objects.items())), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """To be kept, for a task that comes later."""
        return {"objects": dict(self.objects), "invalid": list(self.invalid)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Inventory:
        """What ``record`` has kept."""
        return cls(dict(record["objects"]), tuple(record["invalid"]))

    def differences(self, other: Inventory) -> tuple[str, ...]:
        """What another inventory has in another way, sorted: ``+`` new, ``-`` gone, ``~`` changed."""
        names = sorted(self.objects.keys() | other.objects.keys())
        marks = ((name, _mark(self.objects.get(name), other.objects.get(name))) for name in names)
        return tuple(f"{mark} {name}" for name, mark in marks if mark)


def _mark(mine: str | None, other: str | None) -> str:
    if mine == other:
        return ""
    return "+" if mine is None else "-" if other is None else "~"


@dataclass(frozen=True)
class Declared:
    """Where a database stands, said so that a human or a later task can go on from it.

    :param kind: ``old`` and ``target`` are the two ends, unharmed; ``between`` is exactly the revisions named;
        ``altered`` is the old revision set with a schema that is not the old one; ``elsewhere`` is a set on no way
        from the one end to the other; ``unknown`` means that nobody could look
    :param differences: what the schema has in another way than at the start, where that says something
    """

    kind: Literal["old", "target", "between", "altered", "elsewhere", "unknown"]
    revisions: frozenset[str] = frozenset()
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "unknown":
            return "unknown, it gave no answer"
        differences = f", but {', '.join(self.differences[:_SHOWN])}" if self.differences else ""
        more = f" and {len(self.differences) - _SHOWN} more" if len(self.differences) > _SHOWN else ""
        return f"{self.kind}, at {shown(self.revisions)}{differences}{more}"


def shown(revisions: Iterable[str]) -> str:
    """A revision set for humans."""
    return ", ".join(sorted(revisions)) or "no revision at all"
