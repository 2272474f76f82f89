"""PostgreSQL's client programs: where they are, whether they fit the server, and how one is run.

A program gets an argument list and no shell, and reads the password from a file
(:mod:`include.database.connection`). It is ended when its context ends, and told to end by the kernel when the
thread that runs it dies, even by SIGKILL. Whatever a server does for it ends with it, because the server is asked
to look after the connection while it works.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from include.database.connection import Database, client_environment
from include.errors import (
    ClientFailed,
    ClientHindered,
    ClientUnusable,
    DatabaseBusy,
    DatabaseError,
    DatabaseUnreachable,
)

STOP_SECONDS: Final = 5.0
_TAIL_BYTES: Final = 16384
_SHOWN_LINES: Final = 3
_TRANSACTION_TIMEOUT: Final = 17  # the version that introduced it
# Processes of a parallel pg_restore wait for each other, and what it reads may come slowly: it is no idler then.
_LOOK_AFTER: Final = "-c client_connection_check_interval=2s -c idle_session_timeout=0"

# Asks the kernel for SIGTERM when its parent dies, makes sure that there still is one, and becomes the program. On
# SIGTERM a parallel pg_dump ends its workers and cancels what the server does for them; on SIGKILL it could not.
_LAUNCH: Final = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): sys.exit("pg: error: the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# What libpq and the programs themselves say is in English here (LC_ALL=C), whatever the server's language.
_GONE: Final = re.compile(
    r"server closed the connection|connection to server (at|on) .* failed|could not (receive|send) data|"
    r"terminating connection|SSL connection has been closed|no connection to the server|lost synchronization"
)
_WAITED: Final = re.compile(r"lock timeout|could not obtain lock|55P03")
# The server adds the hint to whatever kept it from making a file larger.
_LACKED: Final = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|Check free disk space|"
    r"out of memory|Cannot allocate memory|Too many open files"
)


@dataclass(frozen=True)
class Clients:
    """The client programs of one installation.

    :param folder: which holds them
    :param version: for humans, for example ``18.4``
    """

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.partition(".")[0])

    def path(self, name: str) -> str:
        """The full path of one program."""
        return str(self.folder / name)

    def unfit(self, server_major: int) -> str:
        """Why the programs do not fit a server of that version; empty when they do.

        ``pg_dump`` refuses newer servers. ``pg_restore`` sets ``transaction_timeout`` since version 17, which
        older servers do not know; what a newer ``pg_dump`` has written, an older ``pg_restore`` cannot read.
        """
        if self.major < server_major:
            return "older than the server"
        return "too new for the server" if server_major < _TRANSACTION_TIMEOUT <= self.major else ""

    def must_serve(self, server_major: int) -> None:
        """Refuse a server whose dumps the programs cannot take, or could not restore there.

        :raises ClientUnusable: see :meth:`unfit`
        """
        if reason := self.unfit(server_major):
            raise ClientUnusable(
                f"pg_dump and pg_restore {self.version} are {reason}",
                expected=f"client programs of PostgreSQL {server_major}",
                seen=f"{self.version} in {self.folder}",
                remedy=f"install the package postgresql-client-{server_major} and name its folder",
            )


def find_clients(folder: Path | None = None) -> Clients:
    """The programs in `folder`, or those on PATH.

    :raises ClientUnusable: one is missing or does not run
    """
    found = str(folder / "pg_dump") if folder else shutil.which("pg_dump")
    if not found:
        raise _missing("pg_dump", "PATH")
    home = Path(found).parent
    versions = {_version(home / name) for name in ("pg_dump", "pg_restore")}
    if len(versions) != 1:
        raise _missing("pg_dump and pg_restore of one version", f"{home}: {', '.join(sorted(versions))}")
    return Clients(home, versions.pop())


def _version(program: Path) -> str:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _missing(program.name, str(program.parent)) from error
    version = re.search(r"\(PostgreSQL\) (\d+(\.\d+)*)", answer.stdout)
    if version is None:
        raise _missing(program.name, answer.stdout.strip()[:80])
    return version.group(1)


def _missing(what: str, where: str) -> ClientUnusable:
    return ClientUnusable(
        f"{what} cannot be used",
        expected="PostgreSQL's client programs",
        seen=where,
        remedy="install PostgreSQL's client package and name its folder",
    )


@dataclass(frozen=True)
class Running:
    """A client program that runs.

    :param output: what it prints; None when that goes elsewhere
    :param feed: what it reads; None when it reads a file
    """

    pid: int
    output: IO[bytes] | None
    feed: IO[bytes] | None
    process: subprocess.Popen[bytes] = field(repr=False)

    def wait(self, watch: Callable[[], None], *, every_seconds: float = 0.5) -> None:
        """Wait until the program has ended; `watch` is called meanwhile, and may end it by raising."""
        while True:
            try:
                self.process.wait(every_seconds)
            except subprocess.TimeoutExpired:
                watch()
            else:
                return


@contextmanager
def running(
    argv: Sequence[str],
    database: Database | None,
    *,
    application: str,
    fed: bool = False,
    output: IO[bytes] | None = None,
) -> Iterator[Running]:
    """Run a client program; when the context ends, so has the program, and its exit code was looked at.

    An exception inside the context ends the program: first by SIGTERM, after some seconds by SIGKILL.

    :param argv: full path and arguments; holds no secret
    :param database: whose password, host and so on the program finds in its environment; None for none
    :param fed: whether it reads from ``feed``, which is closed when the context ends
    :param output: a file that takes what it prints; None to read it from ``output``
    :raises DatabaseUnreachable: it ended because the connection broke
    :raises DatabaseBusy: it ended because it waited too long for a lock
    :raises ClientHindered: it was ended, or lacked room, or says nothing
    :raises ClientFailed: it ended with another error
    """
    surroundings = client_environment(_looked_after(database or _NOBODY), application=application)
    with surroundings as environment, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *argv],
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=complaints,
        )
        try:
            try:
                yield Running(process.pid, process.stdout, process.stdin, process)
            except BrokenPipeError:
                if not fed:
                    raise
                # It ended before it had read everything; its exit code says why.
            if process.stdin:
                _close(process.stdin)
            code = process.wait()
        finally:
            _end(process)
        if code != 0:
            raise failure(Path(argv[0]).name, code, _tail(complaints))


_NOBODY: Final = Database("", 0, "", "")


def _looked_after(database: Database) -> Database:
    asked = f"{database.options.get('options', '')} {_LOOK_AFTER}".strip()
    return replace(database, options={**database.options, "options": asked})


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream:
            _close(stream)
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stream.close()


def _tail(complaints: IO[bytes]) -> str:
    end = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, end - _TAIL_BYTES))
    return complaints.read().decode(errors="replace")


def failure(program: str, code: int, complaints: str) -> DatabaseError:
    """What a client program's end means.

    :param code: its exit code, negative after a signal
    :param complaints: what it wrote to standard error. Only lines in which it speaks itself are shown: others
        quote statements and rows, which may hold secrets
    """
    # A statement that is quoted, or a line of a table, begins differently.
    own = [line for line in complaints.splitlines() if re.match(r"pg_?\w*: (error|fatal|detail|hint)", line)]
    seen = " / ".join(line.partition(": ")[2] for line in own[:_SHOWN_LINES] if " was: " not in line)
    hindered = not seen or code < 0 or _LACKED.search(complaints)
    seen = seen or (f"ended by signal {-code}" if code < 0 else f"exit code {code}")
    if _GONE.search(complaints):
        return DatabaseUnreachable(f"the connection of {program} broke", seen=seen, remedy="try again")
    if _WAITED.search(complaints):
        return DatabaseBusy(f"{program} waited too long for a lock", seen=seen, remedy="try again")
    if hindered:
        return ClientHindered(f"{program} failed", seen=seen, remedy="make room where it lacked any; try again")
    return ClientFailed(f"{program} failed", seen=seen)
