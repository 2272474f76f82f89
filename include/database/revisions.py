"""Alembic's version tables, and the revisions that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from psycopg import sql

from include.database.session import Session

# A version table is one with a single column of this name: Alembic makes no other (runtime/migration.py), and what
# else a schema calls alembic_version is none.
_TABLES: Final = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname),
       CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 END,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (SELECT count(*) FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped) = 1
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class VersionTable:
    """A table in which Alembic keeps revisions.

    :param length: most characters of ``version_num``; None means any
    :param readable: whether our role may read it; where it may not, nobody knows its revisions
    """

    schema: str
    name: str
    length: int | None
    revisions: frozenset[str]
    readable: bool = True


class _Found(NamedTuple):
    schema: str
    name: str
    quoted: str
    length: int | None
    readable: bool


def version_tables(session: Session) -> tuple[VersionTable, ...]:
    """Every version table of all schemas; one that the role may not read says so."""
    return tuple(_with_revisions(session, one) for one in _found(session))


def revision_sets(session: Session) -> dict[str, tuple[str, ...]]:
    """Version table, as SQL writes it → its revisions, sorted; empty without such a table.

    :raises psycopg.errors.InsufficientPrivilege: the role may not read one of them
    """
    return {one.quoted: tuple(sorted(_rows(session, one))) for one in _found(session)}


def _found(session: Session) -> tuple[_Found, ...]:
    return tuple(_Found(*row) for row in session.execute(_TABLES.encode()))


def _with_revisions(session: Session, table: _Found) -> VersionTable:
    revisions = _rows(session, table) if table.readable else frozenset()
    return VersionTable(table.schema, table.name, table.length, revisions, table.readable)


def _rows(session: Session, table: _Found) -> frozenset[str]:
    query = sql.SQL("SELECT version_num::text FROM {}").format(sql.Identifier(table.schema, table.name))
    return frozenset(row[0] for row in session.execute(query))
