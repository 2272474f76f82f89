"""A session with a database: how it begins, how it can fail, how two processes stay out of each other's way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import errors

from include.database.connection import Database
from include.errors import DatabaseBusy, DatabaseError, DatabaseRefused, DatabaseUnreachable

Session = psycopg.Connection[tuple[Any, ...]]
"""An open session; rows are tuples."""

# A dump may take hours, in which the session that holds its snapshot is silent.
_KEPT_ALIVE: Final = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
_BUSY = (errors.LockNotAvailable, errors.ObjectInUse, errors.DeadlockDetected)
_REFUSED = (errors.InsufficientPrivilege, errors.InvalidCatalogName, errors.UndefinedObject)


@contextmanager
def session(database: Database, *, application: str) -> Iterator[Session]:
    """A session in autocommit mode, in which names must be qualified and no timeout of the role's ends it.

    An error of the server inside the context becomes one of ours. Text of the server is shown by its first line
    only: what follows may quote rows.

    :param application: who it is, as ``pg_stat_activity`` shows it
    :raises DatabaseUnreachable: no answer, or the connection broke
    :raises DatabaseRefused: wrong password, no such database, a missing privilege
    :raises DatabaseBusy: a lock or a session of somebody else is in the way
    :raises DatabaseError: anything else the server said
    """
    with _translated(database), _connect(database, application) as connection:
        connection.execute(
            "SELECT set_config('search_path', '', false), set_config('statement_timeout', '0', false), "
            "set_config('idle_in_transaction_session_timeout', '0', false), set_config('timezone', 'UTC', false)"
        )
        if connection.info.server_version >= 170000:
            connection.execute("SET transaction_timeout = 0")
        yield connection


def try_lock(connection: Session, what: str) -> bool:
    """Hold the name `what` in this database until the session ends, in whatever way; False when it is held.

    The lock is an advisory one: it hinders nobody but who asks for the same name.
    """
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", (lock_key(what),)).fetchone()
    return bool(found and found[0])


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
    # Operational errors of a statement have a class of their own; without one, it is the connection that is gone.
    if isinstance(error, errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow) or (
        isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    ):
        return DatabaseUnreachable(f"the connection to {database.shown} broke", seen=seen, remedy="try again")
    return DatabaseError(f"{database.shown} could not do what was asked", seen=seen)


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
