"""Takes a backup: one snapshot of the database, dumped, counted and described; the manifest comes last.

Killed at any moment, a later call with the same id begins anew and removes what was left; called again after it
has ended, it finds the manifest and does nothing. Two processes never write the same backup: the source database
holds a lock for whoever does, which ends with its session.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from include.backup.described import BackupContents
from include.backup.manifest import (
    BEGUN,
    INVENTORY,
    MANIFEST,
    Begun,
    Format,
    Manifest,
    Piece,
    archive_digest,
    folder_name,
    read_manifest,
    seconds_between,
)
from include.backup.spool import Spool, spooled
from include.backup.store import CHUNK_BYTES, Store
from include.database.catalogue import read_inventory
from include.database.clients import Clients, running
from include.database.connection import Database
from include.database.counting import COUNT_SECONDS, count_rows, with_rows
from include.database.facts import ServerFacts, server_facts
from include.database.properties import read_properties
from include.database.revisions import revision_sets
from include.database.session import LOCK_WAIT_SECONDS, Session, one_moment, session, try_lock
from include.errors import ArchiveForeign, ArchiveUnusable, BackupBusy, BackupMissing, BackupStoreFailed

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk backup"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Wanted:
    """What kind of backup is to be taken.

    :param id: of the backup; asking again with the same id gives the same backup
    :param keeper: whose retention may delete it, see :class:`include.backup.manifest.Manifest`
    :param jobs: processes of the directory format
    :param spool: the local folder that the directory format needs, and how large it may become; None for the
        custom format, which needs none
    :param count_seconds: how long counting rows may take; tables that remain are not counted
    :param lock_wait_seconds: how long a lock of somebody else's may hold the dump up
    """

    id: str
    keeper: str = ""
    format: Format = Format.CUSTOM
    jobs: int = 2
    spool: Spool | None = None
    count_seconds: float = COUNT_SECONDS
    lock_wait_seconds: int = LOCK_WAIT_SECONDS
    now: Callable[[], datetime] = field(default=_utc_now, compare=False)


def take_backup(database: Database, store: Store, clients: Clients, wanted: Wanted) -> Manifest:
    """Take the backup, unless it is there already.

    :raises DatabaseError: the database or ``pg_dump`` cannot do it; see its subclasses
    :raises BackupBusy: another process is taking this very backup
    :raises BackupStoreFailed: the store refuses, or is full
    :raises SpoolFull: the directory format needs more than its local folder may hold
    :raises ArchiveForeign: that id belongs to a backup of another database
    """
    started = wanted.now()
    folder = folder_name(wanted.id)
    with session(database, application=APPLICATION) as connection:
        facts = server_facts(connection)
        clients.must_serve(facts.major)
        if not try_lock(connection, f"backup {wanted.id}"):
            raise BackupBusy(
                f"another process is taking backup {wanted.id}",
                remedy="wait for it, or try again when it has ended",
            )
        if (finished := _finished(store, wanted.id)) is not None:
            return _of_this_database(finished, facts)
        # Whoever wrote these holds no lock any more, so it is dead.
        store.delete(folder, sorted(store.files(folder), key=lambda name: name == BEGUN))
        return _Attempt(database, store, clients, wanted, facts, started, folder).run(connection)


def find_backup(store: Store, backup: str) -> Manifest:
    """The manifest of a backup whose pieces are all there, each as large as it should be.

    :raises BackupMissing: there is none of that id
    :raises ArchiveUnusable: its manifest is damaged, or a piece is missing or of another size
    """
    folder = folder_name(backup)
    content = store.get(folder, MANIFEST)
    if content is None:
        left = store.files(folder)
        raise BackupMissing(
            f"there is no backup {backup}",
            expected=f"{store.shown(folder, MANIFEST)}",
            seen=f"what an unfinished attempt left: {', '.join(sorted(left))}" if left else "nothing",
            remedy="take it again",
        )
    manifest = read_manifest(content, where=store.shown(folder, MANIFEST))
    sizes = store.files(folder)
    for piece in (*manifest.pieces, manifest.inventory):
        if sizes.get(piece.name) != piece.size:
            raise ArchiveUnusable(
                f"{store.shown(folder, piece.name)} is not what was written",
                expected=f"{piece.size} bytes",
                seen=f"{sizes[piece.name]} bytes" if piece.name in sizes else "no such file",
                remedy="use another backup",
            )
    return manifest


def _finished(store: Store, backup: str) -> Manifest | None:
    try:
        return find_backup(store, backup)
    except (BackupMissing, ArchiveUnusable) as reason:
        log.info("backup %s is taken: %s", backup, reason)
        return None


def _of_this_database(manifest: Manifest, facts: ServerFacts) -> Manifest:
    if manifest.database != facts.identity:
        raise ArchiveForeign(
            f"backup {manifest.id} is of another database",
            expected=facts.identity.shown,
            seen=manifest.database.shown,
            remedy="take this backup under another id",
        )
    return manifest


@dataclass(frozen=True)
class _Attempt:
    """One attempt at a backup; its pieces have names of their own."""

    database: Database
    store: Store
    clients: Clients
    wanted: Wanted
    facts: ServerFacts
    started: datetime
    folder: str
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    def run(self, connection: Session) -> Manifest:
        begun = Begun(id=self.wanted.id, keeper=self.wanted.keeper, started_at=self.started)
        self.store.put(self.folder, BEGUN, begun.model_dump_json().encode())
        with one_moment(connection, lock_wait_seconds=self.wanted.lock_wait_seconds):
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None
            snapshot_at = self.wanted.now()
            inventory = read_inventory(connection)
            properties = read_properties(connection)
            pieces = self._dump(row[0])
            rows = count_rows(connection, seconds=self.wanted.count_seconds)
            found = revision_sets(connection)
        contents = BackupContents(inventory=with_rows(inventory, rows), properties=properties)
        described = self.store.put(self.folder, INVENTORY, contents.model_dump_json().encode())
        finished = self.wanted.now()
        manifest = Manifest(
            id=self.wanted.id,
            keeper=self.wanted.keeper,
            format=self.wanted.format,
            pieces=pieces,
            size=sum(piece.size for piece in pieces),
            sha256=archive_digest(pieces),
            inventory=described,
            database=self.facts.identity,
            server=self.facts.version,
            server_version_number=self.facts.version_number,
            client=self.clients.version,
            revisions=found,
            rows=rows,
            started_at=self.started,
            snapshot_at=snapshot_at,
            finished_at=finished,
            duration_seconds=seconds_between(self.started, finished),
        )
        self.store.put(self.folder, MANIFEST, manifest.model_dump_json(indent=2).encode())
        log.info(
            "backup %s: %d bytes of %s in %.1f s",
            manifest.id,
            manifest.size,
            manifest.database.shown,
            manifest.duration_seconds,
        )
        return manifest

    def _dump(self, snapshot: str) -> tuple[Piece, ...]:
        if self.wanted.format is Format.CUSTOM:
            chunks = self._stream(snapshot)
            name = f"{self.token}.dump"
            return (self.store.write(self.folder, name, chunks, expected_bytes=self.facts.size_bytes),)
        if self.wanted.spool is None:
            raise BackupStoreFailed(
                "the directory format needs a local folder",
                expected="a spool with a bound",
                remedy="configure one, or use the custom format",
            )
        dump = partial(self._into_folder, snapshot)
        write = partial(self.store.write, self.folder)
        return spooled(self.wanted.spool, dump, lambda file, chunks: write(f"{self.token}-{file}", chunks))

    def _argv(self, snapshot: str, *more: str) -> list[str]:
        return [
            self.clients.path("pg_dump"),
            f"--format={self.wanted.format}",
            "--no-password",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={self.wanted.lock_wait_seconds * 1000}",
            *more,
        ]

    def _stream(self, snapshot: str) -> Iterator[bytes]:
        with running(self._argv(snapshot), self.database, application=APPLICATION) as program:
            assert program.output is not None
            while chunk := program.output.read(CHUNK_BYTES):
                yield chunk

    def _into_folder(self, snapshot: str, folder: Path, watch: Callable[[], None]) -> None:
        argv = self._argv(snapshot, f"--jobs={self.wanted.jobs}", f"--file={folder}")
        with running(argv, self.database, application=APPLICATION) as program:
            program.wait(watch)
