"""The linter squawk (wheel ``squawk-cli``) over the pending SQL; its findings are ours, with its own rule names.

Its output with ``--reporter json``: a list of objects with ``file``, ``line`` (from 0), ``level`` (``Warning``,
``Error``), ``message``, ``help`` and ``rule_name``; exit code 1 when it found any. Source: ``reporter.rs`` and
``main.rs`` of squawk 2.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from include.errors import TreeUnusable
from include.migration.finding import Finding
from include.migration.process import quiet_environment
from include.migration.sqltext import Statement, statements
from include.migration.tree import Rendered

PREFIX: Final = "squawk:"
LEFT_OUT: Final = (
    "prefer-robust-stmts",  # Alembic knows what it has run, and wraps it in a transaction
    "prefer-text-field",  # taste, not safety
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-timestamp-tz",
    "require-timeout-settings",  # set around each migration, see include/migration/apply.py
    # Alembic begins and ends the transactions; offline, a block outside of one is COMMIT, its statements, BEGIN.
    "transaction-nesting",
    "ban-uncommitted-transaction",
)
"""Rules of squawk about taste, or about what is taken care of elsewhere."""

_SECONDS: Final = 60.0


def find() -> Path | None:
    """Squawk beside this Python, or on ``PATH``; None when it is not installed."""
    beside = Path(sys.executable).parent / "squawk"
    if beside.is_file():
        return beside
    found = shutil.which("squawk")
    return Path(found) if found else None


def squawk(program: Path, revisions: Iterable[Rendered], *, server_version: int) -> tuple[Finding, ...]:
    """What squawk finds in the pending SQL.

    :param server_version: as PostgreSQL tells it, for example 160013
    :raises TreeUnusable: it does not run, or says nothing that can be read
    """
    found: list[Finding] = []
    for one in revisions:
        text, lines = as_file(one)
        if text:
            found += findings(_run(program, text, server_version), one, lines)
    return tuple(found)


def not_asked(revisions: Sequence[Rendered]) -> tuple[Finding, ...]:
    """The finding for SQL that squawk was not asked about; none when there is no SQL."""
    if not any(one.statements for one in revisions):
        return ()
    return (
        Finding(
            f"{PREFIX}not-asked",
            "warn",
            "the pending SQL was judged by the own rules only, squawk is not installed",
            "install the wheel squawk-cli beside Stellwerk",
        ),
    )


def as_file(revision: Rendered) -> tuple[str, tuple[Statement, ...]]:
    """The revision's SQL with one statement a line, and the statement of each line."""
    found = [statement for sql, line in revision.statements for statement in statements(sql, line)]
    return "".join(f"{_one_line(one)};\n" for one in found), tuple(found)


def findings(answer: str, revision: Rendered, lines: Sequence[Statement]) -> tuple[Finding, ...]:
    """Squawk's answer in our words.

    :raises TreeUnusable: it is not what its documentation promises
    """
    try:
        return tuple(_finding(one, revision, lines) for one in json.loads(answer or "[]"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TreeUnusable(
            "squawk's answer cannot be read",
            expected="a list of violations as squawk 2 writes it",
            seen=answer[:500],
            remedy="install the version of squawk-cli that the lock file names",
        ) from error


def _finding(one: Mapping[str, Any], revision: Rendered, lines: Sequence[Statement]) -> Finding:
    statement = lines[one["line"]] if 0 <= one["line"] < len(lines) else None
    return Finding(
        f"{PREFIX}{one['rule_name']}",
        # What it cannot parse it has not judged.
        "unknown" if one["rule_name"] == "syntax-error" else "warn",
        str(one["message"]),
        str(one.get("help") or "see https://squawkhq.com/docs/rules"),
        revision.file,
        statement.line if statement else 0,
        revision.revision,
        statement.shown[:160] if statement else "",
    )


def _one_line(statement: Statement) -> str:
    return " ".join(one.shown.replace("\n", " ") for one in statement.tokens)


def _run(program: Path, text: str, server_version: int) -> str:
    argv = [str(program), "--reporter", "json", f"--pg-version={server_version // 10000}.0"]
    argv += ["--assume-in-transaction", f"--exclude={','.join(LEFT_OUT)}"]
    with tempfile.TemporaryDirectory(prefix="stellwerk-squawk-") as folder:
        # It takes the first settings that it finds from where it runs up to the root: none but these.
        (Path(folder) / ".squawk.toml").touch()
        try:
            done = subprocess.run(
                argv,
                input=text,
                capture_output=True,
                text=True,
                cwd=folder,
                env=quiet_environment(),
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TreeUnusable("squawk does not run", seen=str(error)) from error
    if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout.strip()):
        raise TreeUnusable("squawk failed", seen=(done.stderr or done.stdout).strip()[-1000:])
    return done.stdout
