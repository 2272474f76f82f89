"""How much the way back takes away: the rows of today, and those that go with them by foreign keys."""

# ruff: noqa: S608 - the queries are put together from constants of this module
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg import sql

from include.migration.way_back import Loss

_TOUCHED: Final = """
WITH RECURSIVE own(oid) AS (
    SELECT %(table)s::regclass::oid UNION SELECT inhrelid FROM pg_inherits JOIN own ON inhparent = own.oid
), touched(oid, event, changed) AS (
    SELECT oid, %(event)s::text, (
        SELECT array_agg(attnum) FROM pg_attribute WHERE attrelid = own.oid AND attname = %(column)s
    )
    FROM own
    UNION
    SELECT next.* FROM touched CROSS JOIN LATERAL (
        SELECT conrelid, 'DELETE', NULL::int2[] FROM pg_constraint
        WHERE confrelid = touched.oid AND contype = 'f' AND event = 'DELETE' AND confdeltype = 'c'
        UNION ALL SELECT conrelid, 'UPDATE', conkey FROM pg_constraint
        WHERE confrelid = touched.oid AND contype = 'f' AND (
            event = 'DELETE' AND confdeltype IN ('n', 'd')
            OR event = 'UPDATE' AND confupdtype IN ('c', 'n', 'd') AND (changed IS NULL OR changed && confkey)
        )
        UNION ALL SELECT inhrelid, 'DELETE', NULL FROM pg_inherits
        WHERE inhparent = touched.oid AND event = 'DELETE'
    ) AS next(oid, event, changed)
)"""
"""The tables that a statement names, with what inherits from them (``own``), and those in which rows go or change
with them (``touched``), through any number of foreign keys; ``changed`` are columns, NULL means any."""
_TAKEN_ALONG: Final = f"""{_TOUCHED}, keys AS (
    SELECT DISTINCT coalesce(pg_partition_root(conrelid), conrelid) AS oid, event,
        event = 'DELETE' AND confdeltype = 'c' AS goes,
        CASE WHEN event = 'UPDATE' OR confdeltype <> 'c' THEN (
            SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = conrelid AND attnum = ANY(conkey)
        ) END AS columns
    FROM pg_constraint JOIN touched ON confrelid = touched.oid
    WHERE contype = 'f' AND (
        event = 'DELETE' AND confdeltype IN ('c', 'n', 'd')
        OR event = 'UPDATE' AND confupdtype IN ('c', 'n', 'd') AND (changed IS NULL OR changed && confkey)
    )
)
SELECT nspname, relname, goes, event, columns
FROM keys JOIN pg_class ON pg_class.oid = keys.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE NOT goes OR keys.oid NOT IN (SELECT oid FROM own)
ORDER BY 1, 2, 3 DESC, 4, 5
"""
_SET_OFF: Final = f"""{_TOUCHED}
SELECT DISTINCT what, name, touched.oid::regclass::text
FROM touched JOIN (
    SELECT tgrelid AS oid, code.event, 'trigger' AS what, tgname::text AS name
    FROM pg_trigger
    JOIN (VALUES ('INSERT', 4), ('DELETE', 8), ('UPDATE', 16), ('TRUNCATE', 32)) AS code(event, mask)
    ON tgtype & mask <> 0 WHERE NOT tgisinternal AND tgenabled <> 'D'
    UNION ALL SELECT ev_class, code.event, 'rule', rulename::text
    FROM pg_rewrite
    JOIN (VALUES ('INSERT', '3'), ('DELETE', '4'), ('UPDATE', '2')) AS code(event, kind)
    ON ev_type::text = kind WHERE ev_enabled <> 'D'
) AS also ON also.oid = touched.oid AND also.event = touched.event
ORDER BY 1, 2, 3
"""
"""Triggers and rewrite rules that do something more then."""
_EVENTS: Final = {"deleted": "DELETE", "overwritten": "UPDATE", "emptied": "TRUNCATE", "inserted": "INSERT"}


def count(opened: psycopg.Connection[Any], found: Iterable[Loss]) -> tuple[Loss, ...]:
    """The same losses with their rows, as far as they can be counted, and what keys, triggers and rules add.

    Rows that are added are no loss: only what they set off is told.

    :param opened: with the role that migrates
    """
    everything = dict.fromkeys(one for loss in found for one in (loss, *_taken_along(opened, loss)))
    return tuple(replace(one, rows=_rows(opened, one)) for one in everything if one.kind != "inserted")


def _taken_along(opened: psycopg.Connection[Any], loss: Loss) -> Iterator[Loss]:
    event = _EVENTS.get(loss.kind)
    if event is None or not loss.table:
        return
    given = {"table": _table(loss).as_string(opened), "event": event, "column": loss.column}
    keys, set_off = (_asked(opened, sql.SQL(query), given) for query in (_TAKEN_ALONG, _SET_OFF))
    if keys is None or set_off is None:
        yield Loss("other", "", "", f"{loss.place}, with what foreign keys, triggers and rules do then")
        return
    for schema, table, goes, because, columns in keys:
        # A dot in a name cannot be told from that between schema and table: then it is said without a figure.
        name = f"{schema}.{table}" if "." not in f"{schema}{table}" else ""
        kind = "deleted" if goes else "overwritten"
        cascade = "CASCADE, " if because == "UPDATE" else ""
        why = "ON DELETE CASCADE" if goes else f"ON {because} {cascade}SET NULL or DEFAULT ({columns})"
        yield Loss(kind if name else "other", name, "", f"{loss.place}, {why} of {schema}.{table}")
    for what, named, table in set_off:
        yield Loss("other", "", "", f"{loss.place}, {what} {named} of {table}")


def _rows(opened: psycopg.Connection[Any], loss: Loss) -> int | None:
    if not loss.table:
        return None
    what = sql.Identifier(loss.column) if loss.column else sql.SQL("*")
    answer = _asked(opened, sql.SQL("SELECT count({}) FROM {}").format(what, _table(loss)))
    return int(answer[0][0]) if answer else None


def _table(loss: Loss) -> sql.Identifier:
    return sql.Identifier(*loss.table.split(".", 1))


def _asked(
    opened: psycopg.Connection[Any], query: sql.SQL | sql.Composed, given: Mapping[str, str] | None = None
) -> list[tuple[Any, ...]] | None:
    """The answer; None where it takes too long, or the name or the role does not let it be known."""
    try:
        with opened.transaction():
            opened.execute("SET LOCAL search_path TO DEFAULT")  # names mean what they mean to the migration
            return opened.execute(query, given).fetchall()
    except psycopg.OperationalError as error:
        if isinstance(error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)):
            return None
        raise
    except psycopg.ProgrammingError:
        return None
