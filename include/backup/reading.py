"""Reads a backup back from where it is kept: every byte against its checksum, and the table of contents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO, Final

from include.backup.archive import Contents, must_be_archive, must_belong, read_contents
from include.backup.manifest import Format, Manifest, Piece, folder_name
from include.backup.store import Store
from include.database.clients import Clients, running
from include.errors import ArchiveUnusable, ClientFailed, ClientHindered, ClientUnusable

APPLICATION: Final = "stellwerk verify"
TABLE_OF_CONTENTS: Final = "toc.dat"


def read_back(store: Store, manifest: Manifest, clients: Clients) -> Contents:
    """Read every piece of the backup once, and return the archive's table of contents.

    :raises ArchiveUnusable: a piece is missing, empty, truncated, corrupt, or no archive
    :raises ArchiveForeign: the archive is of another database
    :raises ClientUnusable: ``pg_restore`` is older than the archive
    :raises ClientHindered: ``pg_restore`` could not do its work; nothing is known
    :raises BackupStoreFailed: the store does not answer
    """
    if clients.major < manifest.server_major:
        raise ClientUnusable(
            f"pg_restore {clients.version} is older than the backup {manifest.id}",
            expected=f"pg_restore {manifest.server_major} or newer",
            seen=f"{clients.version} in {clients.folder}",
            remedy=f"install the client programs of PostgreSQL {manifest.server_major}",
        )
    folder = folder_name(manifest.id)
    listed = manifest.pieces[0]
    if manifest.format is Format.DIRECTORY:
        listed = _table_of_contents(manifest)
        for piece in manifest.pieces:
            if piece is not listed:
                _read_through(store.read(folder, piece))
    with tempfile.TemporaryFile() as listing:
        where = store.shown(folder, listed.name)
        with closing(store.read(folder, listed)) as chunks:
            _list(clients, manifest.format, chunks, listing, where)
        listing.seek(0)
        contents = read_contents(listing.read().decode(errors="replace"))
    must_belong(manifest, contents)
    return contents


def piece_file(piece: Piece) -> str:
    """What a piece of the directory format was called in its folder."""
    return piece.name.partition("-")[2]


def _table_of_contents(manifest: Manifest) -> Piece:
    for piece in manifest.pieces:
        if piece_file(piece) == TABLE_OF_CONTENTS:
            return piece
    raise ArchiveUnusable(
        f"backup {manifest.id} has no table of contents", expected=TABLE_OF_CONTENTS, remedy="use another backup"
    )


def _read_through(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass


def _list(clients: Clients, kind: Format, chunks: Iterator[bytes], listing: IO[bytes], where: str) -> None:
    first = next(chunks, b"")
    must_be_archive(first, where=where)
    try:
        if kind is Format.CUSTOM:
            _list_stream(clients, first, chunks, listing)
        else:
            _list_folder(clients, first, chunks, listing)
    except ClientHindered:
        raise
    except ClientFailed as error:
        raise ArchiveUnusable(
            f"pg_restore cannot read {where}",
            expected="an archive with a table of contents",
            seen=error.seen,
            remedy="use another backup",
        ) from error


def _list_stream(clients: Clients, first: bytes, chunks: Iterator[bytes], listing: IO[bytes]) -> None:
    argv = [clients.path("pg_restore"), "--list"]
    with running(argv, None, application=APPLICATION, fed=True, output=listing) as program:
        assert program.feed is not None
        reads = True
        # The rest is read for its checksum after pg_restore has seen enough of it.
        for chunk in chain((first,), chunks):
            if reads:
                reads = _feed(program.feed, chunk)


def _feed(pipe: IO[bytes], chunk: bytes) -> bool:
    try:
        pipe.write(chunk)
    except BrokenPipeError:
        return False
    return True


def _list_folder(clients: Clients, first: bytes, chunks: Iterator[bytes], listing: IO[bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="stellwerk-") as folder:
        with (Path(folder) / TABLE_OF_CONTENTS).open("wb") as file:
            file.writelines(chain((first,), chunks))
        argv = [clients.path("pg_restore"), "--list", folder]
        with running(argv, None, application=APPLICATION, output=listing):
            pass
