"""What a migration has made itself so far: no version that runs knows it, and nobody's data are in it."""

from __future__ import annotations

from include.migration.operation import Operation


class Made:
    """Tables and columns of one migration, followed from statement to statement.

    A name counts only while it means what was made: it goes with a ``DROP`` and follows a ``RENAME``. What is made
    ``IF NOT EXISTS`` may have been there before.
    """

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._columns: set[tuple[str, str]] = set()

    def table(self, operation: Operation) -> bool:
        """Whether it is about a table that was made."""
        return self.named(operation.table)

    def named(self, table: str) -> bool:
        """Whether the table of that name was made."""
        return table in self._tables

    def column(self, operation: Operation) -> bool:
        """Whether it is about a column that was made, or about a table that was."""
        return self.table(operation) or (operation.table, operation.object) in self._columns

    def note(self, operation: Operation) -> None:
        """Go on to what comes after the operation."""
        table, name, flags = operation.table, operation.object, operation.flags
        if not table:
            return  # its name could not be read
        if operation.kind == "create-table" and "if-not-exists" not in flags:
            self._tables.add(table)
        elif operation.kind == "add-column" and "if-not-exists" not in flags:
            self._columns.add((table, name))
        elif operation.kind == "drop-table" and not name:
            self._forget(table)
        elif operation.kind == "rename" and "table" in flags:
            self._move(table, name)
        elif operation.kind in ("drop-column", "rename"):
            self._columns.discard((table, name))

    def _forget(self, table: str) -> None:
        self._tables.discard(table)
        self._columns = {one for one in self._columns if one[0] != table}

    def _move(self, table: str, name: str) -> None:
        was, columns = table in self._tables, {one for one in self._columns if one[0] == table}
        self._forget(table)
        self._forget(name)
        self._tables |= {name} if was else set()
        self._columns |= {(name, column) for _, column in columns}
