"""The local folder that the parallel format needs: bounded, watched while it fills, gone afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from include.backup.manifest import Piece
from include.backup.store import CHUNK_BYTES
from include.database.own_folder import own_folder
from include.errors import SpoolFull


@dataclass(frozen=True)
class Spool:
    """A local folder with a bound.

    :param most_bytes: as soon as it is seen to hold more, which is looked at twice a second, the dump is ended
    """

    folder: Path
    most_bytes: int


@contextmanager
def spool_folder(spool: Spool, *, needed_bytes: int = 0) -> Iterator[Path]:
    """A folder of one's own in the spool, removed when the context ends.

    What a killed process has left there is removed by the next one that needs a folder.

    :param needed_bytes: how much will be in it, where that is known
    :raises SpoolFull: that is more than the bound, or more than is free
    """
    spool.folder.mkdir(parents=True, exist_ok=True)
    with own_folder(spool.folder, "stellwerk-") as folder:
        free = shutil.disk_usage(spool.folder).free
        if needed_bytes > min(spool.most_bytes, free):
            raise _full(spool, f"{needed_bytes} bytes needed, {free} free")
        yield folder


def spooled(
    spool: Spool,
    dump: Callable[[Path, Callable[[], None]], None],
    write: Callable[[str, Iterator[bytes]], Piece],
) -> tuple[Piece, ...]:
    """Dump into the spool, then write each file elsewhere and remove it here.

    :param dump: fills a folder that does not exist yet, and calls the function it is given meanwhile
    :param write: file name and content → the piece that was written
    :raises SpoolFull: the folder has become larger than it may
    """
    with spool_folder(spool) as place:
        folder = place / "archive"

        def watch() -> None:
            if (size := _size(folder)) > spool.most_bytes:
                raise _full(spool, f"{size} bytes so far")

        dump(folder, watch)
        watch()
        pieces = []
        for file in sorted(folder.iterdir()):
            pieces.append(write(file.name, _read(file)))
            file.unlink()
        return tuple(pieces)


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk


def _size(folder: Path) -> int:
    size = 0
    for file in folder.glob("*"):
        try:
            size += file.stat().st_size
        except FileNotFoundError:
            continue
    return size


def _full(spool: Spool, seen: str) -> SpoolFull:
    return SpoolFull(
        f"the local folder {spool.folder} is too small for the parallel format",
        expected=f"at most {spool.most_bytes} bytes",
        seen=seen,
        remedy="raise the bound, or use the custom format, which needs no local folder",
    )
