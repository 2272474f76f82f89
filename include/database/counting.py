"""Counts rows in one transaction, for as long as it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from psycopg import errors, sql

from include.database.catalogue import tables_by_size
from include.database.inventory import LARGE_OBJECTS, Inventory
from include.database.session import Session

_COUNT: Final = "SELECT count(*) FROM {}"  # gets the name of a table, quoted by the server
COUNT_SECONDS: Final = 120.0
"""How long counting may take unless something else is said."""


def count_rows(
    session: Session, *, seconds: float = COUNT_SECONDS, clock: Callable[[], float] = time.monotonic
) -> dict[str, int | None]:
    """Count the rows of every table, the smallest first, and the large objects.

    To be called within :func:`include.database.session.one_moment`.

    :param seconds: when they are over, the tables that remain are not counted: None, which is not zero. A table
        that this role may not read is not counted either
    """
    end = clock() + seconds
    counts: dict[str, int | None] = {}
    for table in tables_by_size(session):
        left = end - clock()
        counts[table] = _count(session, _COUNT.format(table), left) if left > 0 else None
    objects = _count(session, "SELECT count(*) FROM pg_largeobject_metadata", max(end - clock(), 1))
    return {**counts, LARGE_OBJECTS: objects}


def _count(session: Session, query: str, seconds: float) -> int | None:
    try:
        with session.transaction():
            session.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(max(1, int(seconds * 1000))))
            row = session.execute(query.encode()).fetchone()
            session.execute("SET LOCAL statement_timeout = 0")
    except (errors.QueryCanceled, errors.InsufficientPrivilege):
        return None
    assert row is not None
    count: int = row[0]
    return count


def with_rows(inventory: Inventory, rows: dict[str, int | None]) -> Inventory:
    """The inventory with its rows counted."""
    return inventory.model_copy(update={"rows": rows})
