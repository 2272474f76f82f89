"""How a database is reached, by this process and by the programs it starts; the password is shown nowhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from psycopg.pq import Conninfo
from sqlalchemy import URL

from include.database.own_folder import own_folder
from include.errors import DatabaseRefused

CONNECT_SECONDS: Final = 10
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Database:
    """One database of a PostgreSQL server.

    :param options: further libpq parameters, for example ``sslmode``
    :param password: in no ``repr``; programs get it from a file that only this account can read
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> Database:
        """Another database of the same server."""
        return replace(self, name=name)

    @property
    def shown(self) -> str:
        """For humans: ``user@host:port/name``."""
        return f"{self.user}@{self.host}:{self.port}/{self.name}"

    def url(self, driver: str = "postgresql+psycopg") -> URL:
        """For SQLAlchemy; a URL hides its password when it is printed."""
        return URL.create(
            driver, self.user, self.password or None, self.host, self.port, self.name, query=dict(self.options)
        )

    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of ``psycopg.connect``."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.name,
            "user": self.user,
            "password": self.password or None,
            "connect_timeout": CONNECT_SECONDS,
            **self.options,
        }


@contextmanager
def client_environment(database: Database, *, application: str) -> Iterator[dict[str, str]]:
    """The environment of a libpq program that works with the database; to be used while in this context.

    The password is in a file for this account only (libpq's ``PGPASSFILE``), because the environment and the
    arguments of a process can be read by others. It is given for this database alone: a program that works with a
    copy does not get into the original by mistake. What a killed process has left of such files goes first.

    :param application: who it is, as ``pg_stat_activity`` shows it
    :raises DatabaseRefused: an option is none that a program can be given
    """
    options = {_variable(name): value for name, value in database.options.items()}
    with own_folder(Path(tempfile.gettempdir()), "stellwerk-") as folder:
        passfile = folder / "pgpass"
        passfile.touch(mode=0o600)
        fields = (database.host, str(database.port), database.name, database.user, database.password)
        passfile.write_text(":".join(_escaped(one) for one in fields) + "\n", encoding="utf-8")
        yield {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **options,
            "PGHOST": database.host,
            "PGPORT": str(database.port),
            "PGDATABASE": database.name,
            "PGUSER": database.user,
            "PGPASSFILE": str(passfile),
            "PGAPPNAME": application,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGCLIENTENCODING": "UTF8",
        }


def _variable(option: str) -> str:
    """The environment variable of a parameter; libpq's own table has it, and no rule forms all of them."""
    found = next((one.envvar for one in Conninfo.get_defaults() if one.keyword == option.encode()), None)
    if found is None:
        raise DatabaseRefused(
            f"the parameter {option} of the connection cannot be given to PostgreSQL's programs",
            expected="a parameter that libpq has an environment variable for",
            remedy="leave it out of the connection",
        )
    return found.decode()


def _escaped(text: str) -> str:
    r"""As libpq reads a field of its password file, in which a bare ``*`` would stand for anything."""
    return r"\*" if text == "*" else text.replace("\\", "\\\\").replace(":", "\\:")
