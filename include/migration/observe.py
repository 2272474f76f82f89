"""Reads where a database stands: identity and version tables. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from include.database.connection import Database
from include.errors import DatabaseSilent, MigrationBlocked, MigrationRefused
from include.migration.state import DatabaseState, Identity, VersionTable

APPLICATION: Final = "stellwerk"
"""How our own connections are called in ``pg_stat_activity``."""

_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), current_database()::text,
       current_setting('server_version_num')::int
"""
# A version table is one with a single column of this name: Alembic makes no other (runtime/migration.py), and what
# else a schema calls alembic_version is none.
_VERSION_TABLES = """
SELECT n.nspname, c.relname, CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 END,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (SELECT count(*) FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped) = 1
ORDER BY 1, 2
"""


@contextmanager
def connection(database: Database, *, application: str = APPLICATION) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit mode that waits for nothing for long; its ``search_path`` is empty.

    :raises DatabaseSilent: there is no answer, or it breaks off inside the block
    :raises MigrationBlocked: somebody holds a lock that is needed to look
    :raises MigrationRefused: the role may not look
    """
    try:
        with psycopg.connect(
            **{**database.parameters(), "application_name": application}, autocommit=True
        ) as opened:
            opened.execute("SET statement_timeout = '60s'")
            opened.execute("SET lock_timeout = '5s'")
            opened.execute("SELECT set_config('search_path', '', false)")
            yield opened
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise MigrationBlocked(
            f"{database.shown} cannot be looked at, somebody holds a lock",
            seen=_said(error),
            remedy="wait for its end, then clear the task",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationRefused(
            f"{database.shown} cannot be looked at with this role",
            seen=_said(error),
            remedy="give the role that migrates the right, or take the owner's",
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseSilent(
            f"{database.shown} gives no answer",
            seen=_said(error),
            remedy="look at the server and at the connection; then clear the task",
        ) from error


def _said(error: psycopg.Error) -> str:
    return str(error).strip()[:500]


def state(opened: psycopg.Connection[Any]) -> DatabaseState:
    """Which database it is, and its revision sets."""
    row = opened.execute(_IDENTITY).fetchone()
    assert row is not None
    tables = opened.execute(_VERSION_TABLES).fetchall()
    return DatabaseState(
        Identity(row[0], row[1]),
        row[2],
        tuple(
            VersionTable(schema, name, length, _rows(opened, schema, name) if readable else frozenset(), readable)
            for schema, name, length, readable in tables
        ),
    )


def _rows(opened: psycopg.Connection[Any], schema: str, name: str) -> frozenset[str]:
    query = sql.SQL("SELECT version_num::text FROM {}").format(sql.Identifier(schema, name))
    return frozenset(row[0] for row in opened.execute(query))
