"""What a stopped revision may leave behind that neither the revision set nor the schema shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from include.migration.operations import operations
from include.migration.sqltext import statements
from include.migration.tree import Rendered

_UNSEEN: Final = frozenset(
    {
        *("delete-rows", "empty-table", "insert-rows", "update-rows"),
        *("outside-database", "owner", "revoke", "unknown"),
    }
)


def unseen(revisions: Iterable[Rendered]) -> tuple[str, ...]:
    """The revisions that may have changed rows, owners or rights when they were stopped before they were recorded.

    Those are the ones that do so outside of a transaction, in batches for example, and those that cannot be read
    beforehand to the end: nobody knows what they commit.
    """
    return tuple(one.revision for one in revisions if one.why or _commits_unseen(one))


def outside_after(word: str, *, before: bool) -> bool:
    """Whether what comes after a word of transactions runs outside of one."""
    return word in ("COMMIT", "END") or (before and word not in ("BEGIN", "START"))


def _commits_unseen(revision: Rendered) -> bool:
    outside = False
    for sql, line in revision.statements:
        for statement in statements(sql, line):
            for operation in operations(statement):
                if operation.kind == "transaction":
                    outside = outside_after(operation.object, before=outside)
                elif outside and operation.kind in _UNSEEN:
                    return True
    return False
