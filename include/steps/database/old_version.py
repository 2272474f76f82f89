"""The old version's own tests as a program, run against a migrated copy."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from include.database import keeper
from include.database.clients import running
from include.database.connection import Database
from include.errors import ClientFailed
from include.plan.database import VERSION_NAME, OldVersionSuite
from include.steps.database.rehearse import Suite, SuiteResult

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk old version"
_KEEPER: Final = Path(keeper.__file__)
_SHOWN: Final = 3
_TAIL_BYTES: Final = 8192


class _TooLong(Exception):
    """The program did not end in time."""


def program_suite(planned: OldVersionSuite, previous: str) -> Suite:
    """The suite that the plan names, as a function of the database it is to be run against.

    :param previous: the old version
    """
    argv = [word.replace(VERSION_NAME, previous) for word in planned.program]

    def run(database: Database) -> SuiteResult:
        return run_suite(argv, database, timeout_seconds=planned.timeout_seconds)

    return run


def run_suite(argv: Sequence[str], database: Database, *, timeout_seconds: float) -> SuiteResult:
    """Run the program; exit code 0 within the time means that the old version works there.

    Its environment has libpq's variables of the database and nothing else that matters. It ends when this process
    does, and whatever it has started ends with it.

    :param argv: full path and arguments
    :raises DatabaseUnreachable: the connection broke: nothing is known about the old version
    """
    deadline = time.monotonic() + timeout_seconds
    name = " ".join(argv)

    def in_time() -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    with tempfile.TemporaryFile() as said:
        try:
            kept = [sys.executable, "-I", "-S", str(_KEEPER), *argv]
            with running(kept, database, application=APPLICATION, output=said) as program:
                program.wait(in_time)
        except _TooLong:
            return SuiteResult(name, ok=False, sentences=(f"not ended after {timeout_seconds:g} s", *_tail(said)))
        except ClientFailed as error:
            return SuiteResult(name, ok=False, sentences=(error.seen, *_tail(said)))
        return SuiteResult(name, ok=True, sentences=_tail(said) or ("passed",))


def _tail(said: IO[bytes]) -> tuple[str, ...]:
    end = said.seek(0, 2)
    said.seek(max(0, end - _TAIL_BYTES))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return tuple(line[:200] for line in lines[-_SHOWN:])
