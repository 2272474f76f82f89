"""Puts a restored database in the damaged one's place: closes that, ends its sessions, exchanges the names."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from include.backup.swap import Names, Standing
from include.database.marks import mark, mark_of
from include.database.session import Session, first_line
from include.errors import DatabaseBusy, DatabaseRefused

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class LastLook:
    """A look at the damaged database when nobody can write to it any more.

    :param inside: a session with it from before it was closed; the exchange ends it
    :param take: takes the look, and raises where the exchange must not be made
    """

    inside: Session
    take: Callable[[Session], None]


def standing(administration: Session, name: str) -> Standing | None:
    """A database as the server shows it; None when there is none of that name."""
    row = administration.execute(
        "SELECT shobj_description(oid, 'pg_database'), datallowconn FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    if row is None:
        return None
    state, whose = mark_of(row[0] or "")
    return Standing(state, whose, row[1])


def put_in_place(
    administration: Session, names: Names, *, drain_seconds: float, last_look: LastLook | None = None
) -> None:
    """Exchange the names, once nobody is connected to the damaged database any more.

    When that fails, for whatever reason, users may connect to what they had.

    :param last_look: None where the damaged database cannot be read
    :raises DatabaseBusy: sessions did not end
    :raises DatabaseRefused: the role may not end a session
    """
    with administration.transaction():
        mark(administration, names.target, "replacing", names.mark)
        allow(administration, names.target, connections=False)
    try:
        drain(administration, names.target, drain_seconds, spared=_process(last_look))
        if last_look is not None:
            last_look.take(last_look.inside)
            last_look.inside.close()
        exchange(administration, names, keep=True)
    except BaseException:
        reopen(administration, names)
        raise


def exchange(administration: Session, names: Names, *, keep: bool) -> None:
    """Rename both at once: nobody ever finds neither.

    :param keep: there is a damaged database, which gets its other name
    """
    with administration.transaction():
        if keep:
            mark(administration, names.target, "replaced", names.mark)
            rename(administration, names.target, names.kept)
        mark(administration, names.new, "restored", names.mark)
        rename(administration, names.new, names.target)


def reopen(administration: Session, names: Names) -> None:
    """Let users connect to the database as if nothing had been begun; a failure is logged, not raised.

    Only to what was closed: after the exchange another database has that name, whatever was raised since.
    """
    try:
        found = standing(administration, names.target)
        if found is None or (found.state, found.mark) != ("replacing", names.mark):
            return
        open_again(administration, names.target)
    except psycopg.Error as error:
        seen = first_line(error)
        log.error("%s lets nobody connect and cannot be opened again: %s", names.target, seen)  # noqa: TRY400


def open_again(administration: Session, name: str) -> None:
    """Let users connect to a database that was to be replaced, and take the mark away that says so."""
    with administration.transaction():
        mark(administration, name, "", "")
        allow(administration, name, connections=True)


def allow(administration: Session, name: str, *, connections: bool) -> None:
    """Let users connect to a database, or let no more of them in."""
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    administration.execute(statement.format(sql.Identifier(name), sql.Literal(connections)))


def rename(administration: Session, old: str, new: str) -> None:
    """Give a database another name; needs that nobody is connected to it."""
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    administration.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))


def drain(administration: Session, name: str, seconds: float, *, spared: int = 0) -> None:
    """End every session with a database that lets nobody in any more.

    :param spared: the server's process of the one session that may stay
    """
    end = time.monotonic() + seconds
    while left := _told_to_end(administration, name, spared):
        if time.monotonic() > end:
            raise DatabaseBusy(
                f"sessions with {name} do not end",
                expected=f"none after {seconds:g} s",
                seen=", ".join(sorted(left)),
                remedy="end them by hand; the database is open again, and the restored one waits",
            )
        time.sleep(_POLL_SECONDS)


def _process(last_look: LastLook | None) -> int:
    """The server's process of the session inside; 0 without one."""
    if last_look is None:
        return 0
    row = last_look.inside.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _told_to_end(administration: Session, name: str, spared: int) -> set[str]:
    """Tell every session to end; who was still there."""
    try:
        left = administration.execute(
            "SELECT usename, application_name, pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND usesysid IS NOT NULL "
            "AND coalesce(backend_type, 'client backend') = 'client backend' "
            "AND pid NOT IN (pg_backend_pid(), %s)",
            (name, spared),
        ).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefused(
            f"a session with {name} cannot be ended",
            seen=first_line(error),
            remedy="GRANT pg_signal_backend to the role that restores",
        ) from error
    return {f"{user} ({application})" for user, application, _ in left}
