"""Revisions as SQL without a database: statement by statement, with the line that asked for each."""

from __future__ import annotations

import io
import sys
from typing import Any

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from .configuration import configuration, scripts
from .session import Emit, account

MOST_CHARACTERS = 8_000_000


def answer(request: dict[str, Any], emit: Emit) -> None:
    """Render each step of the plan by itself; one that needs a database says so and stops no other."""
    config = configuration(request["tree"])
    folder = scripts(config)
    environment = EnvironmentContext(config, folder, as_sql=True, fn=lambda _heads, _context: [])
    with environment:
        environment.configure(
            dialect_name="postgresql",
            output_buffer=io.StringIO(),
            literal_binds=True,
            transaction_per_migration=True,
            dialect_opts={"paramstyle": "named"},
        )
        context = environment.get_context()
        questions = _Questions(environment, context)
        with Operations.context(context):
            for step in request["plan"]:
                script = folder.get_revision(step["revision"])
                questions.begin(script.module.__file__ or "")
                emit(questions.answered(_rendered(script, step["up"], context)))
    emit({"event": "rendered"})


class _Questions:
    """Notes whether a revision asks if there is a database: with one it may do what nothing shows here."""

    def __init__(self, environment: EnvironmentContext, context: MigrationContext) -> None:
        self._file = ""
        self._lines: list[int] = []
        environment.is_offline_mode = self._offline  # type: ignore[method-assign]
        for one in (context, context.impl):
            one.__class__ = self._telling(type(one))

    def begin(self, file: str) -> None:
        """What is asked from now on is asked by the revision in that file."""
        self._file, self._lines = file, []

    def answered(self, told: dict[str, Any]) -> dict[str, Any]:
        """The revision as SQL, which is not all of it where it has asked."""
        if not self._lines or told["why"]:
            return told
        why = "it asks whether there is a database, and may do something else with one"
        return {**told, "why": why, "line": self._lines[0]}

    def _offline(self) -> bool:
        self._lines.append(_line_in(self._file))
        return True

    def _telling(self, kind: type) -> type:
        def as_sql(_: object) -> bool:
            asking = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001
            return asking.partition(".")[0] == "alembic" or self._offline()

        # Made as its own class was: an implementation of Alembic's has a metaclass.
        return type(kind)(kind.__name__, (kind,), {"as_sql": property(as_sql)})


def _rendered(script: Any, up: bool, context: MigrationContext) -> dict[str, Any]:  # noqa: FBT001
    file = script.module.__file__
    statements: list[dict[str, Any]] = []
    size = 0

    def take(text: str) -> None:
        nonlocal size
        size += len(text)
        if size > MOST_CHARACTERS:
            raise OverflowError(f"more than {MOST_CHARACTERS} characters of SQL")
        statements.append({"sql": text, "line": _line_in(file)})

    context.impl.static_output = take  # type: ignore[method-assign] # where Alembic writes offline SQL
    answer: dict[str, Any] = {"event": "revision", "revision": script.revision, "file": file}
    try:
        (script.module.upgrade if up else script.module.downgrade)()
    except BaseException as error:  # noqa: BLE001 - a revision that needs a connection fails in any way it likes
        told = account(error)
        line = next((line for name, line in reversed(told["places"]) if name == file), 0)
        return {**answer, "statements": statements, "why": told["message"], "line": line}
    return {**answer, "statements": statements, "why": "", "line": 0}


def _line_in(file: str) -> int:
    frame = sys._getframe()  # noqa: SLF001
    while frame is not None:
        if frame.f_code.co_filename == file:
            return frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return 0
