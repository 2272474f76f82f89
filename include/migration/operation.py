"""One thing that a statement does to a schema or to its rows, in the words of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from include.migration.sqltext import Reader, Token, has


@dataclass(frozen=True)
class Operation:
    """One thing that a statement does.

    :param kind: ``drop-column``, ``create-index`` …, or ``harmless``, or ``unknown``
    :param table: the table (or other object) it is about, "" when there is none
    :param object: column, constraint, new name …
    :param flags: what makes it better or worse: ``concurrently``, ``not-valid``, ``rewrite``, ``cascade`` …,
        ``once`` for what fails when it is done again
    """

    kind: str
    table: str = ""
    object: str = ""
    flags: frozenset[str] = frozenset()


AS_WHOM: Final = frozenset({"role", "session_authorization", "session_replication_role"})
"""Settings that say as whom a session works, and whether triggers and foreign keys do their part."""

ONCE: Final = frozenset({"once"})


def cascade(tokens: Sequence[Token]) -> frozenset[str]:
    """The flag of a statement or clause that ends with ``CASCADE``: more goes than it names."""
    last = tokens[-1:]
    return frozenset({"cascade"}) if has(last, "CASCADE") else frozenset()


def if_exists(reader: Reader) -> frozenset[str]:
    """The flag of what goes only where it is there."""
    return frozenset({"if-exists"}) if reader.take("IF", "EXISTS") else frozenset()


def if_not_exists(reader: Reader) -> frozenset[str]:
    """The flag of what is made only where it is not there yet."""
    return frozenset({"if-not-exists"}) if reader.take("IF", "NOT", "EXISTS") else frozenset()
