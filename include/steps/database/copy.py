"""A copy of the database, made from a backup, for as long as somebody works with it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from include.backup.abandoned import drop_abandoned, drop_quietly
from include.backup.copies import Copied, adorn, drop, make_copy
from include.backup.described import BackupContents, read_contents_of
from include.backup.manifest import Manifest
from include.backup.preflight import must_allow_copy
from include.database.connection import Database
from include.database.facts import server_facts
from include.database.marks import mark_of
from include.database.session import Session, session, try_lock
from include.errors import BackupDiffers, MigrationBusy, MigrationRefused
from include.steps.database.site import Site

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk rehearsal"
_LONGEST: Final = 63  # bytes of a name (NAMEDATALEN - 1)

# What was written anew has another file; which table it is, its number tells, whatever it is called.
_FILES: Final = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), coalesce(pg_relation_filenode(c.oid), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


@dataclass(frozen=True)
class Copy:
    """A database that equals the backup.

    :param manifest: of the backup
    :param contents: what it says that the database held
    :param restore_seconds: how long making it took
    """

    database: Database
    manifest: Manifest
    contents: BackupContents
    restore_seconds: float


def copy_name(name: str, key: str) -> str:
    """The name of a copy: the same for every try of one task, and never that of another run's."""
    ending = f"_rehearsal_{hashlib.sha256(f'{name} {key}'.encode()).hexdigest()[:10]}"
    return name.encode()[: _LONGEST - len(ending)].decode(errors="ignore") + ending


def is_copy_of(name: str, database: str, comment: str) -> bool:
    """Whether a database is a rehearsal's copy of another one; pure.

    A copy bears the mark of its own name. Of a name that was cut nobody can tell whose it is: it is left alone.

    :param name: whose copies are meant
    """
    ours = re.compile(re.escape(name) + r"_rehearsal_[0-9a-f]{10}")
    return bool(ours.fullmatch(database)) and mark_of(comment)[1] == _mark(database)


def must_have_room(site: Site) -> int:
    """Refuse to copy a database that is larger than the plan allows.

    The server does not tell how much its disk holds, so the bound is the plan's.

    :return: bytes that the copy needs; a migration that rewrites every table needs as much again meanwhile
    :raises MigrationRefused: it is larger
    """
    with session(site.database, application=APPLICATION) as connection:
        size = server_facts(connection).size_bytes
    largest = site.plan.rehearsal.largest_bytes
    if largest is not None and size > largest:
        raise MigrationRefused(
            f"{site.database.name} is too large for a copy beside it",
            expected=f"at most {largest} bytes (rehearsal.largest_bytes)",
            seen=f"{size} bytes, and as much again while every table is rewritten",
            remedy="raise the bound when the server's disk allows it",
        )
    return size


@contextmanager
def copied(site: Site, manifest: Manifest, *, key: str) -> Iterator[Copy]:
    """A copy made from the backup, dropped when the context ends; what killed runs have left is dropped first.

    :param key: of the run, which tells its copy from those of others
    :raises MigrationBusy: another process works with the copy of this run
    :raises RestoreRefused: the role may not make it; nothing was touched
    :raises BackupDiffers: the copy is not what the database had, or nobody knows whether it is
    :raises DatabaseError, ArchiveUnusable, BackupStoreFailed: it cannot be made
    """
    database = site.database.named(copy_name(site.database.name, key))
    contents = read_contents_of(site.store, manifest)
    with session(site.database.named(site.workshop.maintenance), application=APPLICATION) as administration:
        if not try_lock(administration, _lock(database.name)):
            raise MigrationBusy(
                "another process rehearses this migration", seen=database.name, remedy="wait for its end"
            )
        drop_abandoned(administration, partial(is_copy_of, site.database.name), _lock, but=database.name)
        must_allow_copy(administration, manifest, contents, site.workshop.clients)
        drop(administration, database.name)
        try:
            made = _made(administration, database, site, manifest, contents)
            yield Copy(database, manifest, contents, made.restore_seconds)
        finally:
            drop_quietly(administration, database.name)


def files(database: Database) -> Mapping[int, tuple[str, int]]:
    """Number of each table → its name and the number of its file."""
    with session(database, application=APPLICATION) as connection:
        return {oid: (name, file) for oid, name, file in connection.execute(_FILES)}


def rewritten(before: Mapping[int, tuple[str, int]], after: Mapping[int, tuple[str, int]]) -> tuple[str, ...]:
    """The tables that were written anew as a whole, by the name they have now; pure."""
    return tuple(sorted(name for oid, (name, file) in after.items() if oid in before and before[oid][1] != file))


def _made(
    administration: Session, database: Database, site: Site, manifest: Manifest, contents: BackupContents
) -> Copied:
    mark = _mark(database.name)
    made = make_copy(administration, database, site.workshop, manifest, contents, mark=mark)
    if made.comparison.verdict != "EQUAL":
        what, remedy = f"the copy of backup {manifest.id} is not what the database had", "take another backup"
        if made.comparison.verdict == "UNKNOWN":
            what = f"whether the copy of backup {manifest.id} is what the database had is not known"
            remedy = f"give counting more time (backup.count_seconds), then {remedy}"
        raise BackupDiffers(what, seen="; ".join(made.comparison.sentences), remedy=remedy)
    adorn(administration, database.name, contents)
    return made


def _lock(copy: str) -> str:
    return f"rehearsal {copy}"


def _mark(copy: str) -> str:
    return hashlib.sha256(copy.encode()).hexdigest()[:12]
