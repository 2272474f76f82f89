"""The schema of a database as one value with a fingerprint, and what changed from one to another. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Mark = Literal["+", "-", "~"]
"""What became of something: it is new, gone, changed."""

Name = TypeVar("Name", str, tuple[str, str])


@dataclass(frozen=True)
class Schema:
    """Every object of all schemas with its definition.

    Rows are no part of it, nor are owners, privileges and Alembic's version tables: they may differ between a
    database and its copy without the schema being another.

    :param objects: ``kind schema.name`` → definition
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
    def from_record(cls, record: Mapping[str, Any]) -> Schema:
        """What ``record`` has kept."""
        return cls(dict(record["objects"]), tuple(record["invalid"]))

    def differences(self, other: Schema) -> tuple[str, ...]:
        """What another schema has in another way, sorted: ``+`` new, ``-`` gone, ``~`` changed."""
        return tuple(f"{mark} {name}" for name, mark in changes(self.objects, other.objects))


def changes(before: Mapping[Name, str], after: Mapping[Name, str]) -> Iterator[tuple[Name, Mark]]:
    """Every name under which there is something else afterwards, sorted, with what became of it."""
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield name, "+"
        elif name not in after:
            yield name, "-"
        elif before[name] != after[name]:
            yield name, "~"
