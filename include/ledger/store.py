"""The ledger in PostgreSQL: the only writer of its table, and the way to read it.

Every call opens a connection of its own and bounds how long it waits, because a release must notice a dead
database within seconds and a forked worker must not inherit a socket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from include.errors import InvalidEntry, LedgerError, LedgerUnavailable
from include.ledger.chain import GENESIS, sealed
from include.ledger.entry import Entry, Head, NewEntry, canonical
from include.ledger.examination import Examination, Fault, examine
from include.ledger.schema import APPEND_LOCK, ENTRIES, PROTECTIONS

_COLUMNS = [
    sa.cast(column, sa.Text).label(column.name) if column.name == "payload" else column for column in ENTRIES.c
]


class Ledger:
    """Appends to and reads the ledger.

    :param url: of the database, with the appending role's name and password; any of the spellings
        ``postgres://``, ``postgresql://``, ``postgresql+psycopg://``
    :param timeout_seconds: bound for connecting, for waiting behind other writers and for each statement
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        self._address = engine_url(url)
        milliseconds = max(1, int(timeout_seconds * 1000))
        self._engine = sa.create_engine(
            self._address,
            poolclass=sa.NullPool,
            connect_args={
                "connect_timeout": max(2, round(timeout_seconds)),
                # A connection whose other end vanished without a word ends, too.
                "tcp_user_timeout": milliseconds,
                "application_name": "stellwerk-ledger",
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            },
        )

    def append(self, new: NewEntry) -> Entry:
        """Write an entry behind the last one and return it as written.

        An entry whose key is in the ledger already is not written again: the one that is there is returned.
        Without a key, a retry after a lost answer may write twice.

        :raises LedgerUnavailable: the database gave no answer; nothing is known to have been written
        :raises InvalidEntry: the key stands for an entry of another kind, release or environment
        """
        with self._transaction() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(APPEND_LOCK)))
            if new.key is not None and (existing := self._by_key(connection, new.key)):
                return _same_matter(existing, new)
            recorded_at = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            entry = _behind(self._last(connection), new, recorded_at.astimezone(UTC))
            connection.execute(sa.insert(ENTRIES), _row(entry))
            return entry

    def entries(
        self,
        *,
        release: str | None = None,
        environment: str | None = None,
        run_id: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> tuple[Entry, ...]:
        """The entries that fit every filter given, oldest first.

        :raises LedgerUnavailable: the database gave no answer
        """
        query = sa.select(*_COLUMNS).order_by(ENTRIES.c.sequence)
        for column, value in (("release", release), ("environment", environment), ("run_id", run_id)):
            if value is not None:
                query = query.where(ENTRIES.c[column] == value)
        if kinds is not None:
            query = query.where(ENTRIES.c.kind.in_(list(kinds)))
        with self._transaction() as connection:
            return tuple(_entry(row) for row in connection.execute(query).mappings())

    def find(self, key: str) -> Entry | None:
        """The entry with this idempotency key.

        :raises LedgerUnavailable: the database gave no answer
        """
        with self._transaction() as connection:
            return self._by_key(connection, key)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Be the only process that does ``what`` while in this context; a process that dies is it no more.

        :return: False when another process is at it
        :raises LedgerUnavailable: the database gave no answer; never raised after the context was entered
        """
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        with self._translated():
            connection = self._engine.connect()
        try:
            with self._translated():
                locked = connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(number))).scalar_one()
            yield bool(locked)
        finally:
            # What was done meanwhile is done: a connection that breaks changes nothing about it.
            with suppress(SQLAlchemyError):
                connection.close()

    def head(self) -> Head:
        """Stands for the ledger as it is now.

        :raises LedgerUnavailable: the database gave no answer
        """
        with self._transaction() as connection:
            last = self._last(connection)
        return Head(last.sequence, last.hash) if last else Head(0, GENESIS)

    def examine(self, heads: Sequence[Head] = ()) -> Examination:
        """Check the whole chain, compare it with heads noted outside, and see that the table is still protected.

        :raises LedgerUnavailable: the database gave no answer
        """
        found = examine(self.entries(), heads)
        return replace(found, faults=(*found.faults, *self._unprotected()))

    def _unprotected(self) -> Iterator[Fault]:
        """What keeps everybody but the owner from changing entries, where it is switched off or gone."""
        query = sa.text(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND tgenabled IN ('O', 'A')"
        )
        with self._transaction() as connection:
            active = set(connection.execute(query, {"table": str(ENTRIES)}).scalars())
        for name in sorted(PROTECTIONS - active):
            yield Fault("unprotected", 0, f"the trigger {name} of {ENTRIES} is switched off or gone")

    def _last(self, connection: sa.Connection) -> Entry | None:
        query = sa.select(*_COLUMNS).order_by(ENTRIES.c.sequence.desc()).limit(1)
        row = connection.execute(query).mappings().first()
        return _entry(row) if row else None

    def _by_key(self, connection: sa.Connection, key: str) -> Entry | None:
        row = connection.execute(sa.select(*_COLUMNS).where(ENTRIES.c.key == key)).mappings().first()
        return _entry(row) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise LedgerUnavailable(
                "the ledger's database gives no answer",
                expected=f"PostgreSQL at {self._place()}",
                seen=_cause(error),
                remedy="bring the database back; the step can then be repeated",
            ) from error
        except DBAPIError as error:
            raise LedgerError(
                "the ledger's database refused",
                expected=f"the schema of `python -m include.ledger migrate` at {self._place()}",
                seen=_cause(error),
                remedy="check the role's privileges, run the migration",
            ) from error
        except SQLAlchemyError as error:
            raise LedgerError("the ledger cannot be used", seen=_cause(error)) from error

    def _place(self) -> str:
        return f"{self._address.host or 'the local socket'}:{self._address.port or 5432}/{self._address.database}"


def engine_url(url: str) -> sa.URL:
    """The URL for psycopg, whatever PostgreSQL spelling it came in; Airflow's own extra is dropped.

    :raises LedgerError: not a PostgreSQL URL (the text, which may hold a password, is not repeated)
    """
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        raise LedgerError(
            "the ledger's URL cannot be read", expected="postgresql://<role>:<password>@<host>:<port>/<database>"
        ) from None
    if parsed.drivername.partition("+")[0] not in ("postgres", "postgresql"):
        raise LedgerError(
            "the ledger needs PostgreSQL", expected="postgresql://…", seen=f"{parsed.drivername}://…"
        )
    return parsed.set(drivername="postgresql+psycopg").difference_update_query(["__extra__"])


def _behind(last: Entry | None, new: NewEntry, recorded_at: datetime) -> Entry:
    return sealed(
        Entry(
            sequence=last.sequence + 1 if last else 1,
            kind=new.kind,
            release=new.release,
            environment=new.environment,
            run_id=new.run_id,
            actor=new.actor,
            key=new.key,
            at=(new.at or recorded_at).astimezone(UTC),
            recorded_at=recorded_at,
            payload_json=canonical(new.payload_object()),
            previous=last.hash if last else GENESIS,
            hash="",
        )
    )


def _same_matter(existing: Entry, new: NewEntry) -> Entry:
    before = (existing.kind, existing.release, existing.environment)
    now = (new.kind, new.release, new.environment)
    if before != now:
        raise InvalidEntry(
            f"the key {new.key!r} already stands for something else",
            expected=f"{before} as in entry {existing.sequence}",
            seen=f"{now}",
            remedy="a key names one fact: include the release, the environment and the step",
        )
    return existing


def _row(entry: Entry) -> dict[str, Any]:
    return {column.name: getattr(entry, _attribute(column.name)) for column in ENTRIES.c}


def _entry(row: sa.RowMapping) -> Entry:
    entry = Entry(**{_attribute(name): value for name, value in row.items()})
    return replace(entry, at=entry.at.astimezone(UTC), recorded_at=entry.recorded_at.astimezone(UTC))


def _attribute(column: str) -> str:
    return "payload_json" if column == "payload" else column


def _cause(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
