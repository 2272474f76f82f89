"""Backups of a run: taken under an id that a retry finds again, and proven before anybody relies on them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from include.backup.dump import Wanted, find_backup, take_backup
from include.backup.expiry import expire
from include.backup.manifest import Format, Manifest
from include.backup.verify import last_verification, must_be_verified
from include.backup.verify import verify as look_at
from include.errors import ArchiveUnusable, BackupMissing
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.entries import (
    BACKED_UP,
    BACKUP_PROVEN,
    Purpose,
    newest,
    open_migration,
    own_intent,
    to_return_to,
)
from include.steps.database.site import Site
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The moment."""
    return datetime.now(UTC)


def backup_id(run: ReleaseRun, purpose: Purpose, number: int) -> str:
    """The id of a run's backup: the same for every try of a task.

    :param number: from 1; a further one is only taken when the one before is too old to rely on
    """
    digest = hashlib.sha256(run.release_id.encode()).hexdigest()[:12]
    release, environment = run.release, run.environment
    return f"{environment.application}-{environment.name}-{release.version}-{digest}-{purpose}-{number}"


def keeper(run: ReleaseRun) -> str:
    """Whose retention deletes the run's backups; others may keep theirs in the same place."""
    return f"{run.environment.application}/{run.environment.name}"


def take(
    run: ReleaseRun, site: Site, ledger: Ledger, purpose: Purpose, *, now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Take the run's backup for this purpose, unless there is one that is fresh enough and not known to be bad.

    Once the run's migration has begun, the safety backup is the one it began with, however old: a later one would
    hold a schema that is half-way.

    :raises DatabaseError, BackupError: it cannot be taken
    """
    if purpose == "safety" and (begun := _relied_on(run, ledger)):
        return dict(begun.payload)
    identifier = ""
    while True:
        known = [one for one in all_recorded(ledger, run, BACKED_UP) if one.payload.get("purpose") == purpose]
        if known and _fresh(site, _finished(known[-1]), now()):
            last = known[-1].payload
            # What was written just now is not looked at: its proof is, and a bad store would be asked for ever.
            if last["backup"] == identifier or _usable(site, str(last["backup"]), str(last["sha256"])):
                return dict(last)
        identifier = backup_id(run, purpose, len(known) + 1)
        wanted = Wanted(
            identifier,
            keeper=keeper(run),
            format=Format(site.plan.backup.format),
            jobs=site.plan.backup.jobs,
            spool=site.workshop.spool,
            count_seconds=site.plan.backup.count_seconds,
            now=now,
        )
        manifest = take_backup(site.database, site.store, site.workshop.clients, wanted)
        record(ledger, run, BACKED_UP, _told(manifest, purpose), number=identifier)


def prove(
    run: ReleaseRun, site: Site, ledger: Ledger, purpose: Purpose, *, now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Read the run's newest backup for this purpose back, and restore it where the plan says so.

    :raises BackupMissing: the run has taken none, or it has gone
    :raises BackupDiffers: it is damaged, or could not be compared completely
    :raises DatabaseError, RestoreRefused, BackupStoreFailed: nothing is known about it
    """
    taken = _relied_on(run, ledger) if purpose == "safety" else None
    taken = taken or newest(ledger, run, BACKED_UP, purpose=purpose)
    if taken is None:
        raise BackupMissing(
            f"this run has no {purpose} backup", expected=f"a ledger entry {BACKED_UP}", remedy="clear the backup"
        )
    backup = str(taken.payload["backup"])
    manifest = find_backup(site.store, backup)
    done = newest(ledger, run, BACKUP_PROVEN, backup=backup, sha256=manifest.sha256)
    if done is None:
        scratch = site.database if site.plan.backup.verify_by_restore else None
        found = look_at(backup, site.workshop, now=now(), scratch=scratch)
        must_be_verified(found)
        payload = {
            **_told(manifest, purpose),
            "level": found.level.value,
            "entries": found.entries,
            "notes": list(found.notes),
            "seconds": found.seconds,
            "restore_seconds": found.restore_seconds,
        }
        done = record(ledger, run, BACKUP_PROVEN, payload, number=f"{backup}:{manifest.sha256[:12]}")
    return dict(done.payload)


def proven(ledger: Ledger, run: ReleaseRun, purpose: Purpose) -> Entry:
    """The run's newest backup for this purpose that was proven.

    :raises BackupMissing: there is none, or a newer one was taken that is not proven
    """
    done = newest(ledger, run, BACKUP_PROVEN, purpose=purpose)
    taken = newest(ledger, run, BACKED_UP, purpose=purpose)
    if done is None or taken is None or done.payload["backup"] != taken.payload["backup"]:
        raise BackupMissing(
            f"this run has no verified {purpose} backup",
            expected=f"a ledger entry {BACKUP_PROVEN}",
            seen=f"{taken.payload['backup']}, not verified" if taken else "none",
            remedy="clear the tasks that take and verify it; states set by hand prove nothing",
        )
    return done


def retain(run: ReleaseRun, site: Site, ledger: Ledger, *, now: datetime) -> list[str]:
    """Delete the environment's backups that need not be kept; those of this run and of an open migration are.

    :return: what went, a sentence each
    :raises BackupStoreFailed: the store does not answer, or refuses
    """
    pinned = {str(one.payload["backup"]) for one in all_recorded(ledger, run, BACKED_UP)}
    for begun in (open_migration(ledger, run), to_return_to(ledger, run)):
        if begun is None:
            continue
        # The schemas that the way back is held against are beside the rehearsal's.
        pinned |= {str(begun.payload["backup"]), str(begun.payload["rehearsed_on"])}
    fates = expire(site.store, site.retention, keeper=keeper(run), now=now, pinned=pinned)
    return [f"{fate.folder}: {fate.reason}" for fate in fates if not fate.kept]


def must_be_fresh(done: Entry, site: Site, now: datetime) -> None:
    """Refuse a backup that is too old to begin a migration with; its age counts from its proof, which takes time.

    :raises BackupMissing: it is
    """
    if not _fresh(site, done.at, now):
        raise BackupMissing(
            f"the safety backup {done.payload['backup']} is too old",
            expected=f"one that was verified within the last {site.plan.backup.fresh_seconds:g} s",
            seen=done.at.isoformat(),
            remedy="clear the safety backup: another one is taken",
        )


def _relied_on(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The backup that the run's migration began with; None where it has changed nothing, and begins anew."""
    intent = own_intent(ledger, run)
    return newest(ledger, run, BACKED_UP, backup=intent.payload["backup"]) if intent else None


def _fresh(site: Site, since: datetime, now: datetime) -> bool:
    return now - since <= timedelta(seconds=site.plan.backup.fresh_seconds)


def _finished(taken: Entry) -> datetime:
    return datetime.fromisoformat(str(taken.payload["finished_at"]))


def _usable(site: Site, backup: str, sha256: str) -> bool:
    """Whether it is still there, and whoever looked at it has found nothing wrong."""
    try:
        manifest = find_backup(site.store, backup)
    except (BackupMissing, ArchiveUnusable) as error:
        log.warning("another backup is taken: %s", error)
        return False
    looked = last_verification(site.store, manifest)
    if looked is not None and looked.verdict != "VERIFIED":
        log.warning("another backup is taken: %s is %s: %s", backup, looked.verdict, "; ".join(looked.sentences))
        return False
    return manifest.sha256 == sha256


def _told(manifest: Manifest, purpose: Purpose) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "backup": manifest.id,
        "sha256": manifest.sha256,
        "size": manifest.size,
        "at": manifest.snapshot_at.isoformat(),
        "finished_at": manifest.finished_at.isoformat(),
        "system": manifest.database.system_identifier,
        "database": manifest.database.name,
        "revisions": {table: list(found) for table, found in manifest.revisions.items()},
        "duration_seconds": manifest.duration_seconds,
    }
