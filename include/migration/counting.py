"""How much the way back takes away: the rows of today, and those that go with them by foreign keys."""

# ruff: noqa: S608 - the queries are put together from constants of this module
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg import sql

from include.migration.way_back import Loss

_GONE: Final = """
WITH RECURSIVE own(oid) AS (
    SELECT %s::regclass::oid UNION SELECT inhrelid FROM pg_inherits JOIN own ON inhparent = own.oid
), gone(oid) AS (
    SELECT oid FROM own
    UNION
    SELECT next.oid FROM gone CROSS JOIN LATERAL (
        SELECT conrelid FROM pg_constraint WHERE confrelid = gone.oid AND contype = 'f' AND confdeltype = 'c'
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = gone.oid
    ) AS next(oid)
)"""
"""The tables that a statement names, with what inherits from them (``own``), and those whose rows a DELETE takes
along, through any number of foreign keys (``gone``)."""
_TAKEN_ALONG: Final = f"""{_GONE}, keys AS (
    SELECT DISTINCT coalesce(pg_partition_root(conrelid), conrelid) AS oid, confdeltype = 'c' AS goes,
        CASE WHEN confdeltype <> 'c' THEN (
            SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = conrelid AND attnum = ANY(conkey)
        ) END AS columns
    FROM pg_constraint JOIN gone ON confrelid = gone.oid
    WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd')
)
SELECT nspname, relname, goes, columns
FROM keys JOIN pg_class ON pg_class.oid = keys.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE NOT goes OR keys.oid NOT IN (SELECT oid FROM own)
ORDER BY 1, 2, 3 DESC, 4
"""
_TRIGGERS: Final = """
SELECT DISTINCT tgname, tgrelid::regclass::text FROM pg_trigger
WHERE tgrelid IN (SELECT oid FROM {tables}) AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & {event} <> 0
ORDER BY 1, 2
"""
_ON_DELETE: Final = f"{_GONE} {_TRIGGERS.format(tables='gone', event=8)}"
_ON_UPDATE: Final = f"{_GONE} {_TRIGGERS.format(tables='own', event=16)}"


def count(opened: psycopg.Connection[Any], found: Iterable[Loss]) -> tuple[Loss, ...]:
    """The same losses with their rows, as far as they can be counted, and what foreign keys and triggers add.

    :param opened: with the role that migrates
    """
    everything = dict.fromkeys(one for loss in found for one in (loss, *_taken_along(opened, loss)))
    return tuple(replace(one, rows=_rows(opened, one)) for one in everything)


def _taken_along(opened: psycopg.Connection[Any], loss: Loss) -> Iterator[Loss]:
    if loss.kind not in ("deleted", "overwritten") or not loss.table:
        return
    deleted = loss.kind == "deleted"
    given = (_table(loss).as_string(opened),)
    keys = _asked(opened, sql.SQL(_TAKEN_ALONG), given) if deleted else []
    triggers = _asked(opened, sql.SQL(_ON_DELETE if deleted else _ON_UPDATE), given)
    if keys is None or triggers is None:
        yield Loss("other", "", "", f"{loss.place}, with what foreign keys and triggers do then")
        return
    for schema, table, goes, columns in keys:
        # A dot in a name cannot be told from that between schema and table: then it is said without a figure.
        name = f"{schema}.{table}" if "." not in f"{schema}{table}" else ""
        kind = "deleted" if goes else "overwritten"
        why = "ON DELETE CASCADE" if goes else f"ON DELETE SET NULL or DEFAULT ({columns})"
        yield Loss(kind if name else "other", name, "", f"{loss.place}, {why} of {schema}.{table}")
    for trigger, table in triggers:
        yield Loss("other", "", "", f"{loss.place}, trigger {trigger} of {table}")


def _rows(opened: psycopg.Connection[Any], loss: Loss) -> int | None:
    if not loss.table:
        return None
    what = sql.Identifier(loss.column) if loss.column else sql.SQL("*")
    answer = _asked(opened, sql.SQL("SELECT count({}) FROM {}").format(what, _table(loss)))
    return int(answer[0][0]) if answer else None


def _table(loss: Loss) -> sql.Identifier:
    return sql.Identifier(*loss.table.split(".", 1))


def _asked(
    opened: psycopg.Connection[Any], query: sql.SQL | sql.Composed, given: tuple[str, ...] = ()
) -> list[tuple[Any, ...]] | None:
    """The answer; None where it takes too long, or the name or the role does not let it be known."""
    try:
        with opened.transaction():
            opened.execute("SET LOCAL search_path TO DEFAULT")  # names mean what they mean to the migration
            return opened.execute(query, given or None).fetchall()
    except psycopg.OperationalError as error:
        if isinstance(error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)):
            return None
        raise
    except psycopg.ProgrammingError:
        return None
