"""A session with a database: how it begins, how it can fail, how two processes stay out of each other's way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import errors, sql

from include.database.connection import Database
from include.errors import DatabaseBusy, DatabaseError, DatabaseRefused, DatabaseUnreachable

Session = psycopg.Connection[tuple[Any, ...]]
"""An open session; rows are tuples."""

LOCK_WAIT_SECONDS: Final = 60
"""How long a lock of somebody else's is waited for unless something else is said."""

# A dump may take hours, in which the session that holds its snapshot is silent.
_KEPT_ALIVE: Final = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
_BUSY = (errors.LockNotAvailable, errors.ObjectInUse, errors.DeadlockDetected, errors.QueryCanceled)
_REFUSED = (errors.InsufficientPrivilege, errors.InvalidCatalogName, errors.UndefinedObject)
# PostgreSQL manual, appendix "Error Codes": connection exceptions; shutdowns and sessions that were ended.
_GONE: Final = ("08", "57P")
# A role or a database may have set others, and most of these change how the server writes definitions: the same
# thing would be written in two ways. Without row security there is an error rather than some of the rows.
_SETTINGS: Final = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "idle_in_transaction_session_timeout": "0",
}


@contextmanager
def session(
    database: Database, *, application: str, statement_seconds: float = 0, lock_seconds: float = 0
) -> Iterator[Session]:
    """A session in autocommit mode, in which names must be qualified and no timeout of the role's ends it.

    Whatever the role or the database has set, it writes definitions and values in one way. An error of the server
    inside the context becomes one of ours. Text of the server is shown by its first line only: what follows may
    quote rows.

    :param application: who it is, as ``pg_stat_activity`` shows it
    :param statement_seconds: the longest statement; 0 for any length
    :param lock_seconds: the longest wait for a lock; 0 for any length
    :raises DatabaseUnreachable: no answer, or the connection broke
    :raises DatabaseRefused: wrong password, no such database, a missing privilege
    :raises DatabaseBusy: a lock or a session of somebody else is in the way, or the statement took too long
    :raises DatabaseError: anything else the server said
    """
    with _translated(database), _connect(database, application) as connection:
        timeouts = {"statement_timeout": statement_seconds, "lock_timeout": lock_seconds}
        _settle(connection, {name: f"{seconds * 1000:.0f}" for name, seconds in timeouts.items()})
        yield connection


@contextmanager
def one_moment(connection: Session, *, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Everything read inside is of one moment, and nothing can be written by accident.

    :param lock_wait_seconds: how long a lock of somebody else's is waited for; even describing a view needs one
    :raises psycopg.errors.LockNotAvailable: it was waited for in vain
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(lock_wait_seconds * 1000))
        yield


def try_lock(connection: Session, what: str) -> bool:
    """Hold the name `what` in this database until the session ends, in whatever way; False when it is held.

    The lock is an advisory one: it hinders nobody but who asks for the same name.
    """
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", (lock_key(what),)).fetchone()
    return bool(found and found[0])


def unlock(connection: Session, what: str) -> None:
    """Give back what :func:`try_lock` has got, before the session ends."""
    connection.execute("SELECT pg_advisory_unlock(%s)", (lock_key(what),))


def lock_key(what: str) -> int:
    """The number, a signed 64-bit one, of the advisory lock with that name."""
    return int.from_bytes(hashlib.sha256(f"stellwerk:{what}".encode()).digest()[:8], "big", signed=True)


def first_line(error: BaseException) -> str:
    """What went wrong, without what PostgreSQL adds below it."""
    return str(error).strip().partition("\n")[0]


@contextmanager
def _translated(database: Database) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error, database) from error


def _ours(error: psycopg.Error, database: Database) -> DatabaseError:
    seen = first_line(error)
    if isinstance(error, _BUSY):
        return DatabaseBusy(f"{database.shown} is in use by others", seen=seen, remedy="try again")
    if isinstance(error, _REFUSED):
        return DatabaseRefused(
            f"{database.shown} does not let this be done", seen=seen, remedy="grant the role what it lacks"
        )
    # What the server says has a code; an operational error without one is about the connection.
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or _GONE[0]).startswith(_GONE):
        return DatabaseUnreachable(f"the connection to {database.shown} broke", seen=seen, remedy="try again")
    return DatabaseError(f"{database.shown} could not do what was asked", seen=seen)


def _settle(connection: Session, timeouts: Mapping[str, str]) -> None:
    values = {**_SETTINGS, **timeouts}
    if connection.info.server_version >= 140000:
        values["idle_session_timeout"] = "0"  # a session that holds a lock is silent while others work
    if connection.info.server_version >= 170000:
        values["transaction_timeout"] = "0"
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
        (list(values), list(values.values())),
    )


def _connect(database: Database, application: str) -> Session:
    parameters = {**_KEPT_ALIVE, **database.parameters(), "application_name": application}
    try:
        return psycopg.connect(**parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise _not_connected(error, database) from error


def _not_connected(error: psycopg.OperationalError, database: Database) -> DatabaseError:
    """Nobody answers, or somebody does and says no: libpq's ping tells, whatever language the server speaks."""
    seen = first_line(error)
    answers = psycopg.pq.PGconn.ping(_conninfo(database)) == psycopg.pq.Ping.OK
    if not answers or "too many" in seen or "remaining connection slots" in seen:
        return DatabaseUnreachable(f"{database.shown} gives no answer", seen=seen, remedy="try again")
    return DatabaseRefused(
        f"{database.shown} refuses the connection",
        expected="a user, a password and a database that exist there",
        seen=seen,
        remedy="correct the connection",
    )


def _conninfo(database: Database) -> bytes:
    known = {name: value for name, value in database.parameters().items() if value is not None}
    return psycopg.conninfo.make_conninfo("", **known).encode()
