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
        with Operations.context(context):
            for step in request["plan"]:
                emit(_rendered(folder.get_revision(step["revision"]), step["up"], context))
    emit({"event": "rendered"})


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
