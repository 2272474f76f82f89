"""Runs the planned revisions through the application's env.py, on the one database that was meant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import Pool

from .configuration import configuration, point_at, scripts
from .inspection import digest
from .session import Emit, Refused

# As whom a session works; in this order, since the first takes the second with it.
_AS_WHOM = ("session_authorization", "role", "session_replication_role")
_WHERE = "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_database()::text"


def answer(request: dict[str, Any], emit: Emit) -> None:
    """Run the plan; every connection that env.py makes must lead to the expected database."""
    config = configuration(request["tree"])
    point_at(config, request["url"], request["tree"]["url_variable"])
    folder = scripts(config)
    _refuse_changed(request["plan"], folder)
    work = _Work(request, folder, emit)
    event.listen(Engine, "do_connect", work.connect)
    event.listen(Pool, "connect", work.greet)
    with EnvironmentContext(config, folder, fn=work.steps, destination_rev="heads"):
        folder.run_env()
    if not work.finished:
        raise Refused("tree", "env.py ended without having run the migrations")
    emit({"event": "finished"})


class _Work:
    """What is to be done, and the guards around it."""

    def __init__(self, request: dict[str, Any], folder: ScriptDirectory, emit: Emit) -> None:
        self.request = request
        self.name = make_url(request["url"]).database
        self.folder = folder
        self.emit = emit
        self.finished = False
        self.as_whom: dict[str, str] = {}

    def connect(self, dialect: Any, _record: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A connection is about to be made; where it cannot be, the reason may be that it leads elsewhere.

        The password is given for one database only.
        """
        try:
            return dialect.connect(*arguments, **named)
        except Exception as error:
            name = named.get("dbname", named.get("database", self.name))
            if name not in (self.name, self.request["identity"]["name"]):
                raise Refused("elsewhere", f"database {name!r} is not the one that was meant") from error
            raise

    def greet(self, connection: Any, _record: object) -> None:
        """A connection was made: nothing is executed on it before it is known to be the right one."""
        try:
            cursor = connection.cursor()
            cursor.execute(_WHERE)
            found = list(cursor.fetchone())
        except Exception as error:
            raise Refused("elsewhere", f"it cannot tell which database it is: {error}") from error
        self._compare(found)
        for name, value in self.request["settings"].items():
            cursor.execute(f"SELECT set_config({_literal(name)}, {_literal(value)}, false)")
        cursor.close()
        connection.commit()

    def steps(self, _heads: object, context: MigrationContext) -> Iterator[RevisionStep]:
        """Alembic asks here what to run, on the connection on which it will run it."""
        connection = context.connection
        if connection is None:
            raise Refused("tree", "env.py gave Alembic no connection")
        self._compare(list(connection.execute(text(_WHERE)).one()))
        self._lock(connection)
        self.as_whom = self._whom(connection)
        self._settle(connection)
        self._start(context)
        yield from self._each(context)
        self.finished = True

    def _whom(self, connection: Any) -> dict[str, str]:
        """What env.py has left of it: that may have said as whom the application migrates."""
        asked = text("SELECT current_setting(:name)")
        return {name: str(connection.execute(asked, {"name": name}).scalar()) for name in _AS_WHOM}

    def _settle(self, connection: Any) -> None:
        # env.py may have set others, or a revision before this one.
        for name, value in self.as_whom.items():
            # Only where it is another: not everybody may set it to what it is.
            asked = "SELECT set_config(:name, :value, false) WHERE current_setting(:name) <> :value"
            connection.execute(text(asked), {"name": name, "value": value})
        for name, value in self.request["settings"].items():
            connection.execute(text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value})

    def _compare(self, found: list[Any]) -> None:
        expected = [self.request["identity"]["system"], self.request["identity"]["name"]]
        if found != expected:
            raise Refused("elsewhere", f"database {found[1]!r} of system {found[0]} is not the one that was meant")

    def _lock(self, connection: Any) -> None:
        # A lock of the session that migrates: it is held exactly as long as that backend lives.
        if not connection.execute(
            text("SELECT pg_try_advisory_lock(:key)"), {"key": self.request["lock"]}
        ).scalar():
            raise Refused("busy", "another migration holds the lock")

    def _start(self, context: MigrationContext) -> None:
        asked = self.request["version_table"]
        used = [context.version_table_schema or "", context.version_table]
        if used[1] != asked[1] or (used[0] and asked[0] and used[0] != asked[0]):
            raise Refused("tree", f"env.py keeps its revisions in {used}, not in {asked}")
        heads = sorted(context.get_current_heads())  # read again: the lock is ours only now
        if heads != sorted(self.request["start"]):
            raise Refused("moved", f"the database is at {heads}, not at {sorted(self.request['start'])}")

    def _each(self, context: MigrationContext) -> Iterator[RevisionStep]:
        for step in self.request["plan"]:
            script = self.folder.get_revision(step["revision"])
            told = {"revision": step["revision"], "up": step["up"], "file": script.module.__file__}
            self._settle(context.connection)
            self.emit({"event": "revision", **told})
            began = time.monotonic()
            yield RevisionStep(self.folder.revision_map, script, step["up"])
            self.emit({"event": "ran", **told, "seconds": round(time.monotonic() - began, 3)})


def _refuse_changed(plan: list[dict[str, Any]], folder: ScriptDirectory) -> None:
    for step in plan:
        file = Path(folder.get_revision(step["revision"]).module.__file__ or "")
        if step["digest"] and digest(file) != step["digest"]:
            raise Refused("tree", f"{file} is not the one that was planned")


def _literal(value: str) -> str:
    # Drivers do not agree on how parameters are written.
    return "'" + value.replace("'", "''") + "'"
