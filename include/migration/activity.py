"""The backends of a migration as the server sees them: what they do, who blocks them, and their end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from include.database.session import lock_key
from include.migration.sqltext import without_strings

TAG: Final = "stellwerk-migration"
"""How the backends of migrations are called in ``pg_stat_activity``, followed by a digest of the run's key."""

GONE_SECONDS: Final = 20.0
_SHOWN: Final = 300
_HIDDEN: Final = "<insufficient privilege>"

_OWN = """
SELECT a.pid, coalesce(a.state, ''), concat_ws(': ', a.wait_event_type, a.wait_event),
       left(coalesce(a.query, ''), %s),
       coalesce(extract(epoch FROM clock_timestamp() - a.query_start), 0)::float
FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = %s ORDER BY a.pid
"""
_BLOCKERS = """
SELECT DISTINCT b.pid, coalesce(b.usename, ''), coalesce(b.application_name, ''),
       coalesce(host(b.client_addr), ''), coalesce(b.state, ''), left(coalesce(b.query, ''), %s),
       extract(epoch FROM clock_timestamp() - b.xact_start)::float
FROM pg_stat_activity a CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS w (pid)
JOIN pg_stat_activity b ON b.pid = w.pid
WHERE a.datname = current_database() AND a.application_name = %s AND b.application_name <> a.application_name
ORDER BY b.pid
"""
_HOLDER = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''),
       coalesce(a.state, ''), left(coalesce(a.query, ''), %s),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = ((%s::bigint >> 32) & 4294967295) AND l.objid::bigint = (%s::bigint & 4294967295)
"""


@dataclass(frozen=True)
class Backend:
    """A backend of the migration.

    :param statement: what it executes; strings in it are left out, they may hold data
    :param seconds: how long its statement has been running
    """

    pid: int
    state: str
    waits_for: str
    statement: str
    seconds: float


@dataclass(frozen=True)
class Blocker:
    """A session that holds what the migration waits for.

    :param statement: what it last said, without its strings; the server hides it from roles without
        ``pg_read_all_stats``
    :param seconds: age of its transaction; None where it has none, or it is hidden
    """

    pid: int
    user: str
    application: str
    address: str
    state: str
    statement: str
    seconds: float | None

    @property
    def who(self) -> str:
        """For the ledger: nothing of what it did."""
        name = f" {self.application!r}" if self.application else ""
        return f"pid {self.pid} of {self.user}{name}"

    @property
    def shown(self) -> str:
        """For humans."""
        if self.statement == _HIDDEN:
            return f"{self.who}; more is hidden from this role, it lacks pg_read_all_stats"
        place = f" from {self.address}" if self.address else ""
        age = "" if self.seconds is None else f", in its transaction for {self.seconds:.0f} s"
        return f"{self.who}{place}, {self.state}{age}: {' '.join(self.statement.split())[:120]}"


def tag(key: str) -> str:
    """The name of a run's backends; fits the 63 bytes that PostgreSQL keeps.

    :param key: of the run: the same for each try of a task, another one for any other run
    """
    return f"{TAG} {hashlib.sha256(key.encode()).hexdigest()[:24]}"


def backends(opened: psycopg.Connection[Any], name: str) -> tuple[Backend, ...]:
    """The backends that carry the tag, in this database."""
    rows = opened.execute(_OWN, (_SHOWN, name))
    return tuple(
        Backend(pid, state, waits_for, without_strings(said), seconds)
        for pid, state, waits_for, said, seconds in rows
    )


def blockers(opened: psycopg.Connection[Any], name: str) -> tuple[Blocker, ...]:
    """Who holds what the tagged backends wait for."""
    return tuple(_blocker(row) for row in opened.execute(_BLOCKERS, (_SHOWN, name)))


def holder(opened: psycopg.Connection[Any], lock: str) -> Blocker | None:
    """Who holds the advisory lock of that name; None when nobody does."""
    key = lock_key(lock)
    row = opened.execute(_HOLDER, (_SHOWN, key, key)).fetchone()
    return _blocker(row) if row else None


def _blocker(row: tuple[Any, ...]) -> Blocker:
    found = Blocker(*row)
    said = found.statement
    return found if said == _HIDDEN else replace(found, statement=without_strings(said))


def end_backends(opened: psycopg.Connection[Any], name: str, *, seconds: float = GONE_SECONDS) -> tuple[int, ...]:
    """Terminate the tagged backends and wait until they are gone; returns their process ids.

    :raises TimeoutError: one is still there after ``seconds``
    """
    ended: list[int] = []
    deadline = time.monotonic() + seconds
    while True:
        found = [backend.pid for backend in backends(opened, name)]
        if not found:
            return tuple(ended)
        if time.monotonic() > deadline:
            raise TimeoutError(f"backends {_listed(found)} do not end")
        for pid in found:
            opened.execute("SELECT pg_terminate_backend(%s)", (pid,))
        ended += [pid for pid in found if pid not in ended]
        time.sleep(0.05)


def _listed(pids: Iterable[int]) -> str:
    return ", ".join(str(pid) for pid in pids)
