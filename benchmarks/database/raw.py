"""PostgreSQL's own programs as one would call them by hand: what the product is compared with."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.database.data import connect, create, drop
from include.database.clients import Clients
from include.database.connection import Database, client_environment

APPLICATION: Final = "benchmark"


def dump_and_list(database: Database, clients: Clients, archive: Path) -> float:
    """``pg_dump -Fc`` into a file, then ``pg_restore --list`` of it; seconds. The file is gone afterwards.

    :raises subprocess.CalledProcessError: one of them failed; it has told why on standard error
    """
    try:
        with client_environment(database, application=APPLICATION) as environment:
            begin = time.monotonic()
            dump = [clients.path("pg_dump"), "--format=custom", "--no-password", f"--file={archive}"]
            subprocess.run(dump, env=environment, check=True)
            listing = [clients.path("pg_restore"), "--list", str(archive)]
            subprocess.run(listing, env=environment, check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - begin
    finally:
        archive.unlink(missing_ok=True)


def restore(database: Database, clients: Clients, archive: Path) -> float:
    """Create a database and ``pg_restore`` the archive into it; seconds. The database is gone afterwards.

    :param database: a plain name, of a database that is not there
    :raises subprocess.CalledProcessError: it failed; it has told why on standard error
    """
    restoring = [clients.path("pg_restore"), f"--dbname={database.name}", "--no-password", "--exit-on-error"]
    with connect(database.named("postgres")) as administration:
        drop(administration, database.name)
        try:
            with client_environment(database, application=APPLICATION) as environment:
                begin = time.monotonic()
                create(administration, database.name)
                subprocess.run([*restoring, str(archive)], env=environment, check=True)
                return time.monotonic() - begin
        finally:
            drop(administration, database.name)


def text_digest(database: Database, clients: Clients) -> str:
    """A digest of everything that ``pg_dump`` writes about a database as SQL; see :func:`lines_digest`.

    :raises subprocess.CalledProcessError: it failed; it has told why on standard error
    """
    # The key would be another one each time; it only keeps psql from running commands that hide in the data.
    argv = [clients.path("pg_dump"), "--format=plain", "--no-password", "--restrict-key=benchmark"]
    with (
        client_environment(database, application=APPLICATION) as environment,
        subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        try:
            digest = lines_digest(process.stdout)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return digest


def lines_digest(lines: Iterable[bytes]) -> str:
    """A digest of a script that is the same in whatever order rows stand within their table.

    Where a row lies in its table is nothing a restore promises: the server puts it where there is room.
    """
    table, total = b"", 0
    for line in lines:
        if line.startswith(b"COPY ") and not table:
            table = line
        total += int.from_bytes(hashlib.sha256(table + line).digest(), "big")
        if line == b"\\.\n":
            table = b""
    return f"{total % 2**256:064x}"
