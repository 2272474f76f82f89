"""Tables whose rows are on another server: whoever writes to them in a copy writes there, too. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from include.database.schema import Schema
from include.migration.operation import Operation
from include.migration.sqltext import Reader, statements

_WRITES: Final = frozenset({"delete-rows", "empty-table", "insert-rows", "update-rows"})


class Foreign:
    """Foreign tables, and the tables that they are parts of, followed from statement to statement.

    :param schema: as it is before; None where that plays no part
    """

    def __init__(self, schema: Schema | None = None) -> None:
        self._names = set(_foreign(schema)) if schema else set()

    def written(self, operation: Operation) -> bool:
        """Whether rows on another server are changed. A name without a schema may mean any of that name."""
        if operation.kind not in _WRITES or not operation.table:
            return False
        alike = {name.rpartition(".")[2] for name in self._names} if "." not in operation.table else self._names
        return operation.table in alike

    def note(self, operation: Operation) -> None:
        """Go on to what comes after the operation."""
        kind, flags = operation.kind, operation.flags
        if kind == "create-table" and "foreign" in flags:
            self._names |= {operation.table, operation.object} - {""}
        elif kind == "attach-partition" and operation.object in self._names:
            self._names.add(operation.table)
        elif kind == "rename" and "table" in flags and operation.table in self._names:
            self._names.add(operation.object)


def _foreign(schema: Schema) -> set[str]:
    parents: dict[str, set[str]] = {}
    found = set()
    for name, definition in schema.objects.items():
        kind, _, table = name.partition(" ")
        said = definition.split("; ")
        if kind == "partition":
            parents.setdefault(_name(table), set()).add(_name(definition.removeprefix("of ")))
        if kind == "table":
            inherited = said[-1].removeprefix("inherits ") if said[-1].startswith("inherits ") else ""
            parents.setdefault(_name(table), set()).update(_names(inherited))
            found |= {_name(table)} if "foreign" in said else set()
    waiting = list(found)
    while waiting:
        more = parents.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def _names(listed: str) -> Iterator[str]:
    """Names as the rules know them, from those that the server has written."""
    for one in statements(listed):
        yield from (Reader(clause).name() for clause in Reader(one.tokens).clauses())


def _name(written: str) -> str:
    return next(_names(written), "")
