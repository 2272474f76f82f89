"""Reads where a database stands: which one it is, its version tables, its schema. Nothing is written."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from include.database.catalogue import read_schema
from include.database.connection import Database
from include.database.facts import read_identity
from include.database.revisions import version_tables
from include.database.schema import Schema
from include.database.session import Session, one_moment, session
from include.migration.state import DatabaseState

APPLICATION: Final = "stellwerk"
"""How our own connections are called in ``pg_stat_activity``."""

STATEMENT_SECONDS: Final = 60
"""How long one look may take."""

LOCK_SECONDS: Final = 5
"""How long it may wait for somebody's lock."""


def connection(database: Database) -> AbstractContextManager[Session]:
    """A session that waits for nothing for long; see :func:`include.database.session.session`."""
    return session(
        database, application=APPLICATION, statement_seconds=STATEMENT_SECONDS, lock_seconds=LOCK_SECONDS
    )


def state(opened: Session) -> DatabaseState:
    """Which database it is, and its revision sets.

    :raises DatabaseRefused: the role may not know
    """
    return DatabaseState(read_identity(opened), opened.info.server_version, version_tables(opened))


def schema_now(opened: Session) -> Schema:
    """The schema, of one moment."""
    with one_moment(opened, lock_wait_seconds=LOCK_SECONDS):
        return read_schema(opened)
