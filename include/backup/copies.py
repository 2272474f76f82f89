"""A database made from a backup: created beside the others, filled, compared with the backup, dropped."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from include.backup.described import BackupContents
from include.backup.manifest import Format, Manifest, folder_name
from include.backup.reading import piece_file
from include.backup.spool import Spool, spool_folder
from include.backup.store import Store
from include.database.catalogue import read_inventory
from include.database.clients import Clients, running
from include.database.connection import Database
from include.database.counting import COUNT_SECONDS, count_rows, with_rows
from include.database.inventory import Comparison, Inventory, compare
from include.database.marks import marked, set_comment
from include.database.properties import creation, privileges, settings
from include.database.session import Session, one_moment, session
from include.errors import ArchiveUnusable, SpoolFull

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What is needed to turn backups into databases.

    :param spool: for the directory format; None where only the custom one is used
    :param jobs: processes that restore the directory format
    :param maintenance: a database of the server that is not restored: from there others are renamed
    """

    store: Store
    clients: Clients
    maintenance: str = "postgres"
    spool: Spool | None = None
    jobs: int = 2
    count_seconds: float = COUNT_SECONDS


@dataclass(frozen=True)
class Copied:
    """A copy, and how it compares with what the backup says.

    :param restore_seconds: of creating and filling it
    """

    comparison: Comparison
    restore_seconds: float


def make_copy(
    administration: Session,
    copy: Database,
    workshop: Workshop,
    manifest: Manifest,
    contents: BackupContents,
    *,
    mark: str,
    clock: Callable[[], float] = time.monotonic,
) -> Copied:
    """Create a database, restore the backup into it, and compare.

    Counting its rows may take as long as filling it did, where that is longer than counting is given elsewhere: no
    user waits for this database, and its tables are read for the first time.

    :param administration: a session with another database of the server
    :param copy: the database to create
    :param mark: whose it is, see :mod:`include.database.marks`
    :raises DatabaseError: the server refuses or does not answer
    :raises ArchiveUnusable: a piece is not what it was when it was written
    """
    start = clock()
    administration.execute(creation(copy.name, contents.properties))
    set_comment(administration, copy.name, marked(contents.properties.comment, "restoring", mark))
    # At once, so that nobody reads the copy who may not read the original.
    _execute(administration, privileges(copy.name, contents.properties))
    _fill(copy, workshop, manifest)
    seconds = round(clock() - start, 2)
    with session(copy, application="stellwerk restore") as connection:
        # Without statistics of its own the planner would guess for the first hours.
        connection.execute("ANALYZE")
    found = take_stock(copy, count_seconds=max(workshop.count_seconds, seconds))
    comparison = compare(contents.inventory, found)
    for note in comparison.notes:
        log.warning("%s: %s", copy.name, note)
    return Copied(comparison, seconds)


def take_stock(database: Database, *, count_seconds: float = COUNT_SECONDS) -> Inventory:
    """What a database holds now, its rows counted.

    :raises DatabaseError: it cannot be asked
    """
    with session(database, application="stellwerk restore") as connection, one_moment(connection):
        return with_rows(read_inventory(connection), count_rows(connection, seconds=count_seconds))


def count_now(connection: Session, *, count_seconds: float = COUNT_SECONDS) -> dict[str, int | None]:
    """The rows of every table of one moment; None where they are not known.

    :raises psycopg.Error: the database cannot be asked
    """
    with one_moment(connection):
        return count_rows(connection, seconds=count_seconds)


def adorn(administration: Session, name: str, contents: BackupContents) -> None:
    """Give a copy the settings that the backed up database had; they might have hindered filling it."""
    _execute(administration, settings(name, contents.properties))


def drop(administration: Session, name: str) -> None:
    """Drop a database if it is there, whoever is connected to it."""
    administration.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(administration: Session, statements: Iterable[sql.Composed]) -> None:
    for statement in statements:
        administration.execute(statement)


def _fill(copy: Database, workshop: Workshop, manifest: Manifest) -> None:
    # The name may look like a connection string, so it is put into one.
    name = copy.name.replace("\\", "\\\\").replace("'", "\\'")
    argv = [
        workshop.clients.path("pg_restore"),
        f"--dbname=dbname='{name}'",
        "--no-password",
        "--exit-on-error",
    ]
    folder = folder_name(manifest.id)
    if manifest.format is Format.CUSTOM:
        with running(argv, copy, application="stellwerk restore", fed=True) as program:
            assert program.feed is not None
            for chunk in workshop.store.read(folder, manifest.pieces[0]):
                program.feed.write(chunk)
        return
    if workshop.spool is None:
        raise SpoolFull("the directory format needs a local folder", remedy="configure one with a bound")
    with spool_folder(workshop.spool, needed_bytes=manifest.size) as place:
        _fetch(workshop.store, manifest, place)
        argv += [f"--jobs={workshop.jobs}", str(place)]
        with running(argv, copy, application="stellwerk restore"):
            pass


def _fetch(store: Store, manifest: Manifest, place: Path) -> None:
    for piece in manifest.pieces:
        name = piece_file(piece)
        if not re.fullmatch(r"[\w.-]+", name):
            raise ArchiveUnusable(
                f"a piece of backup {manifest.id} has a name that leads elsewhere", remedy="use another backup"
            )
        with (place / name).open("wb") as file:
            file.writelines(store.read(folder_name(manifest.id), piece))
