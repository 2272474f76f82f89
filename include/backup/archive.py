"""An archive of ``pg_dump``: what it is at a glance, its table of contents, and what is missing there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from include.backup.manifest import Manifest
from include.database.inventory import LARGE_OBJECTS, Inventory
from include.errors import ArchiveForeign, ArchiveUnusable

MAGIC: Final = b"PGDMP"
_LINE: Final = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_HEADER: Final = re.compile(
    r"^;\s+(dbname|Dumped from database version|Dumped by pg_dump version|TOC Entries): (.*)$"
)
_OTHER: Final = {
    b"\x1f\x8b": "a gzip file",
    b"--": "an SQL script",
    b"PK": "a zip file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}


@dataclass(frozen=True)
class Contents:
    """The table of contents of an archive.

    :param database: that was dumped
    :param server: its version, for example ``18.4``
    :param entries: catalogue and object number of every entry
    :param data: object numbers of the tables whose rows are in it
    :param large_objects: whether there are any
    """

    database: str
    server: str
    entries: frozenset[tuple[int, int]]
    data: frozenset[int]
    large_objects: bool


def must_be_archive(beginning: bytes, *, where: str) -> None:
    """Refuse what is no archive at all, by its first bytes.

    :param where: for the message
    :raises ArchiveUnusable: it is empty or something else
    """
    if beginning.startswith(MAGIC):
        return
    other = next((name for mark, name in _OTHER.items() if beginning.startswith(mark)), "something else")
    raise ArchiveUnusable(
        f"{where} is no archive of pg_dump",
        expected="an archive in custom or directory format",
        seen="an empty file" if not beginning else other,
        remedy="use a backup that Stellwerk made",
    )


def read_contents(listing: str) -> Contents:
    """What ``pg_restore --list`` printed.

    :raises ArchiveUnusable: the listing has no header
    """
    header: dict[str, str] = {}
    entries: set[tuple[int, int]] = set()
    data: set[int] = set()
    large_objects = False
    for line in listing.splitlines():
        if found := _HEADER.match(line):
            header.setdefault(found.group(1), found.group(2))
        elif entry := _LINE.match(line):
            catalogue, number, rest = int(entry.group(2)), int(entry.group(3)), entry.group(4)
            entries.add((catalogue, number))
            if rest.startswith("TABLE DATA "):
                data.add(number)
            large_objects = large_objects or rest.startswith("BLOB")
    if "dbname" not in header:
        raise ArchiveUnusable("the archive has no table of contents", remedy="use another backup")
    server = header.get("Dumped from database version", "").partition(" ")[0]
    return Contents(header["dbname"], server, frozenset(entries), frozenset(data), large_objects)


def missing(inventory: Inventory, contents: Contents) -> tuple[str, ...]:
    """What the database had and the archive has not, a sentence for each; pure."""
    absent = [
        f"{thing.kind} {thing.name} is not in the archive"
        for thing in inventory.things
        if thing.entry is not None and thing.entry not in contents.entries
    ]
    names = {thing.entry[1]: thing.name for thing in inventory.things if thing.entry and thing.kind == "table"}
    absent += [
        f"the rows of {names.get(number, f'table number {number}')} are not in the archive"
        for number in inventory.data
        if number not in contents.data
    ]
    if inventory.rows.get(LARGE_OBJECTS) and not contents.large_objects:
        absent.append("the large objects are not in the archive")
    return tuple(absent)


def must_belong(manifest: Manifest, contents: Contents) -> None:
    """Refuse an archive that is not the one its manifest speaks of.

    :raises ArchiveForeign: it was made from another database or another server version
    """
    seen = (_unescaped(contents.database), contents.server.partition(".")[0])
    if seen != (_unescaped(manifest.database.name), str(manifest.server_major)):
        raise ArchiveForeign(
            f"the archive of backup {manifest.id} is of another database",
            expected=f"{manifest.database.name} of PostgreSQL {manifest.server_major}",
            seen=f"{contents.database} of PostgreSQL {contents.server}",
            remedy="use a backup of this database",
        )


def _unescaped(name: str) -> str:
    """``pg_restore --list`` prints line ends in names as spaces."""
    return name.replace("\n", " ").replace("\r", " ")
