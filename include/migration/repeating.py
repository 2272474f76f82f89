"""What a retry makes of what was done outside of a transaction, before its revision was recorded. Pure."""

from __future__ import annotations

from typing import Final, Literal

from include.migration.operation import Operation

Again = Literal["nothing", "resumed", "twice", "stuck"]
"""It has left ``nothing`` behind, is ``resumed`` from what it has, changes rows ``twice``, or is ``stuck``."""

_NOTHING: Final = frozenset({"harmless", "lock-table", "outside-transaction", "refresh", "setting"})
_RESUMED: Final = frozenset({"delete-rows", "empty-table", "reindex", "replace", "revoke"})
_TWICE: Final = frozenset({"insert-rows", "update-rows"})
_SAYS_SO: Final = frozenset({"if-exists", "if-not-exists"})


def again(operation: Operation) -> Again:
    """What becomes of it when it is done a second time; what was not understood is judged by its own rule."""
    kind, flags = operation.kind, operation.flags
    if "once" in flags:
        return "stuck"
    if kind in _NOTHING or kind == "unknown":
        return "nothing"
    if kind in _TWICE:
        return "resumed" if "on-conflict" in flags else "twice"
    # See ``include.migration.repair``.
    built = kind == "create-index" and "concurrently" in flags and operation.object != ""
    return "resumed" if built or kind in _RESUMED or flags & _SAYS_SO else "stuck"
