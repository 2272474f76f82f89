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


class Unanswered(Exception):
    """Raised into a revision that uses what a statement gives back: without a database that is nothing."""


class _Questions:
    """Notes whether a revision asks what only a database tells: with one it may do what nothing shows here.

    Nobody notices ``type(op.get_bind())``.
    """

    def __init__(self, environment: EnvironmentContext, context: MigrationContext) -> None:
        self._file = ""
        self._lines: list[int] = []
        environment.is_offline_mode = self._noted  # type: ignore[method-assign]
        for one in (context, context.impl):
            one.__class__ = _like(type(one), as_sql=property(lambda _: _asked_inside() or self._noted()))
        connection: Any = context.connection
        connection.__class__ = self._telling(type(connection))

    def begin(self, file: str) -> None:
        """What is asked from now on is asked by the revision in that file."""
        self._file, self._lines = file, []

    def answered(self, told: dict[str, Any]) -> dict[str, Any]:
        """The revision as SQL, which is not all of it where it has asked."""
        if not self._lines or told["why"]:
            return told
        why = "it asks whether there is a database, or what one answers, and may do something else with one"
        return {**told, "why": why, "line": self._lines[0]}

    def _noted(self) -> bool:
        self._lines.append(_line_in(self._file))
        return True

    def _telling(self, kind: type) -> type:
        """A connection that shows statements, and tells when anybody asks what it is or what it has answered."""

        def execute(connection: Any, *given: Any, **named: Any) -> Any:
            kind.execute(connection, *given, **named)  # type: ignore[attr-defined]
            return answer

        def missing(_: Any, name: str) -> Any:
            _ = _asked_inside() or self._noted()
            raise AttributeError(f"without a database the connection has no {name}")

        def what(connection: Any) -> type:
            _ = _asked_inside() or self._noted()
            return type(connection)

        answer = _like(object, **dict.fromkeys(_USES, self._unanswered))()
        return _like(kind, execute=execute, __getattr__=missing, __class__=property(what))

    def _unanswered(self, *_: Any, **__: Any) -> Any:
        self._noted()
        raise Unanswered("what a statement gives back is known with a database only")


_USES = (
    *("__getattribute__", "__iter__", "__next__", "__bool__", "__len__", "__getitem__", "__contains__"),
    *(
        "__call__",
        "__enter__",
        "__exit__",
        "__eq__",
        "__ne__",
        "__hash__",
        "__lt__",
        "__gt__",
        "__int__",
        "__str__",
    ),
)


def _like(kind: type, **more: Any) -> type:
    # Made as its own class was: an implementation of Alembic's has a metaclass.
    return type(kind)(kind.__name__, (kind,), more)


def _asked_inside() -> bool:
    """Whether Alembic or SQLAlchemy ask for themselves, two calls above."""
    asking = sys._getframe(2).f_globals.get("__name__", "")  # noqa: SLF001
    return asking.partition(".")[0] in ("alembic", "sqlalchemy")


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
