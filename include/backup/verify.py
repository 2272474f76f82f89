"""Proves that a backup can be used: read back, and by policy restored into a scratch database and compared."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal

from include.backup.abandoned import drop_abandoned
from include.backup.archive import missing
from include.backup.copies import Copied, Workshop, drop, make_copy
from include.backup.described import BackupContents, read_contents_of
from include.backup.dump import find_backup
from include.backup.manifest import VERIFICATION, Level, Manifest, Verification, folder_name, read_model
from include.backup.preflight import must_allow_copy
from include.backup.reading import read_back
from include.backup.store import Store
from include.database.connection import Database
from include.database.marks import mark_of
from include.database.session import session, try_lock
from include.errors import ArchiveForeign, ArchiveUnusable, BackupBusy, BackupDiffers, ClientFailed

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk verify"


def verify(backup: str, workshop: Workshop, *, now: datetime, scratch: Database | None = None) -> Verification:
    """Read the backup back, restore it into a scratch database where one is allowed, keep the result beside it.

    A backup that turns out to be damaged is a result, too; :func:`must_be_verified` makes an error of it. It is
    ``DAMAGED`` by what was read or compared, never because ``pg_restore`` failed: that may be for want of space as
    well, so it is ``UNKNOWN``, and what an earlier restore has proven stays.

    :param scratch: any database of the server that takes the scratch database, which is dropped again; None to
        read back only
    :raises BackupMissing: there is none of that id
    :raises BackupBusy: another process is restoring this backup into the scratch database
    :raises RestoreRefused: the role may not make a scratch database like that
    :raises ClientUnusable: ``pg_restore`` is older than the backup
    :raises DatabaseError, BackupStoreFailed: the server or the store does not answer: nothing is known
    """
    start = time.monotonic()
    found = _Found()
    try:
        found.look(backup, workshop, scratch)
    except (ArchiveUnusable, ArchiveForeign) as error:
        found.verdict, found.sentences = "DAMAGED", (str(error),)
    except ClientFailed as error:
        found.verdict, found.sentences = "UNKNOWN", (str(error),)
    result = Verification(
        backup=backup,
        sha256=found.manifest.sha256 if found.manifest else "0" * 64,
        level=Level.CONTENTS if scratch is None else Level.RESTORE,
        at=now,
        verdict=found.verdict,
        sentences=found.sentences,
        notes=found.notes,
        entries=found.entries,
        seconds=round(time.monotonic() - start, 2),
        restore_seconds=found.restore_seconds,
    )
    _keep(workshop.store, found.manifest, result)
    log.info("backup %s: %s %s in %.1f s", backup, result.level, result.verdict, result.seconds)
    return result


@dataclass
class _Found:
    """What one look at a backup has found so far."""

    manifest: Manifest | None = None
    entries: int = 0
    verdict: Literal["VERIFIED", "DAMAGED", "UNKNOWN"] = "VERIFIED"
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    restore_seconds: float | None = None

    def look(self, backup: str, workshop: Workshop, scratch: Database | None) -> None:
        self.manifest = find_backup(workshop.store, backup)
        contents = read_contents_of(workshop.store, self.manifest)
        listed = read_back(workshop.store, self.manifest, workshop.clients)
        self.entries, self.sentences = len(listed.entries), missing(contents.inventory, listed)
        if self.sentences:
            self.verdict = "DAMAGED"
        elif scratch is not None:
            copied = _restore(scratch, workshop, self.manifest, contents)
            self.verdict = _VERDICTS[copied.comparison.verdict]
            self.sentences, self.notes = copied.comparison.sentences, copied.comparison.notes
            self.restore_seconds = copied.restore_seconds


_VERDICTS: Final[dict[str, Literal["VERIFIED", "DAMAGED", "UNKNOWN"]]] = {
    "EQUAL": "VERIFIED",
    "DIFFERENT": "DAMAGED",
    "UNKNOWN": "UNKNOWN",
}


def must_be_verified(verification: Verification) -> None:
    """Make an error of anything but a verified backup.

    :raises BackupDiffers: it is damaged, or could not be compared completely
    """
    if verification.verdict != "VERIFIED":
        raise BackupDiffers(
            f"backup {verification.backup} is not verified: {verification.verdict}",
            expected="all that the database had",
            seen="; ".join(verification.sentences),
            remedy="take another backup"
            if verification.verdict == "DAMAGED"
            else "mend what was in the way and verify it again, or take another one; where rows were not counted, "
            "give counting more time (backup.count_seconds)",
        )


def last_verification(store: Store, manifest: Manifest) -> Verification | None:
    """What was found when this backup was last looked at; None when nobody did, or at another archive."""
    folder = folder_name(manifest.id)
    content = store.get(folder, VERIFICATION)
    if content is None:
        return None
    try:
        found = read_model(Verification, content, where=store.shown(folder, VERIFICATION))
    except ArchiveUnusable:
        return None
    return found if (found.backup, found.sha256) == (manifest.id, manifest.sha256) else None


def _keep(store: Store, manifest: Manifest | None, result: Verification) -> None:
    before = last_verification(store, manifest) if manifest else None
    proved = before is not None and (before.level, before.verdict) == (Level.RESTORE, "VERIFIED")
    less = result.verdict == "UNKNOWN" or (result.level, result.verdict) == (Level.CONTENTS, "VERIFIED")
    if proved and less:
        return  # it was restored once and nothing says that it has changed
    store.put(folder_name(result.backup), VERIFICATION, result.model_dump_json(indent=2).encode())


def scratch_name(backup: str) -> str:
    """The name of the scratch database of a backup."""
    return f"stellwerk_scratch_{hashlib.sha256(backup.encode()).hexdigest()[:12]}"


def is_scratch_of(name: str, database: str, comment: str) -> bool:
    """Whether a database is one that a verification has made beside another one; pure.

    :param name: beside which it was made
    """
    ours = re.fullmatch(r"stellwerk_scratch_[0-9a-f]{12}", database)
    return ours is not None and mark_of(comment)[1] == _mark(database, name)


def _mark(database: str, name: str) -> str:
    # Others may verify their backups on the same server, and lock them elsewhere.
    return hashlib.sha256(f"{database} {name}".encode()).hexdigest()[:12]


def _lock(database: str) -> str:
    return f"scratch {database}"


def _restore(scratch: Database, workshop: Workshop, manifest: Manifest, contents: BackupContents) -> Copied:
    name = scratch_name(manifest.id)
    with session(scratch.named(workshop.maintenance), application=APPLICATION) as administration:
        if not try_lock(administration, _lock(name)):
            raise BackupBusy(
                f"backup {manifest.id} is being verified by another process", remedy="wait for it, or try again"
            )
        drop_abandoned(administration, partial(is_scratch_of, scratch.name), _lock, but=name)
        must_allow_copy(administration, manifest, contents, workshop.clients)
        drop(administration, name)  # of a process that was killed: nobody else holds the lock
        try:
            mark = _mark(name, scratch.name)
            return make_copy(administration, scratch.named(name), workshop, manifest, contents, mark=mark)
        finally:
            drop(administration, name)
