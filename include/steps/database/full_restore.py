"""The last resort of a rollback: the database from the backup that its migration began with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from include.backup.loss import RestoreLoss
from include.backup.restore import restore, what_would_be_lost
from include.errors import BackupMissing, RestoreUnconfirmed
from include.ledger.store import Ledger
from include.steps.database.backup import utc_now
from include.steps.database.confirm import confirmation
from include.steps.database.entries import RESTORE_STATED, newest, open_migration
from include.steps.database.intent import named
from include.steps.database.site import Site
from include.steps.record import record
from include.steps.run import ReleaseRun
from include.steps.schema_proof import RESTORED

log = logging.getLogger(__name__)


def backup_to_restore(run: ReleaseRun, ledger: Ledger) -> str:
    """The backup that a full restore of this release would bring back.

    :raises BackupMissing: no migration of this release is in the database, so none was taken for it
    """
    began = open_migration(ledger, run)
    if began is None:
        raise BackupMissing(
            f"no migration of {run.release.version} is in the database of {run.environment.name}",
            expected="a migration of this release, with the safety backup that it began with",
            remedy="name the backup by hand (docs/rollback.md), or leave the database as it is",
        )
    return str(began.payload["backup"])


def state_restore(
    run: ReleaseRun, site: Site, ledger: Ledger, *, backup: str = "", now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Say what a full restore would lose, in minutes and rows; nothing is touched.

    :param backup: another one than the open migration's
    :return: ``digest`` of the statement, which a human confirms, and its ``sentences``
    :raises BackupMissing, ArchiveUnusable, ArchiveForeign: there is none to restore from
    :raises DatabaseError: the server gives no answer
    """
    named = backup or backup_to_restore(run, ledger)
    statement = what_would_be_lost(site.database, site.workshop, named, made_at=now())
    for sentence in statement.sentences:
        log.info("%s", sentence)
    payload = {
        "digest": statement.digest,
        "backup": named,
        "sentences": list(statement.sentences),
        "statement": statement.model_dump_json(),
    }
    record(ledger, run, RESTORE_STATED, payload, number=statement.digest[:16])
    return {"digest": statement.digest, "backup": named, "sentences": list(statement.sentences)}


def restore_fully(
    run: ReleaseRun, site: Site, ledger: Ledger, *, now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Bring the backup of the newest statement back, or go on with it where an earlier try was stopped.

    :raises RestoreUnconfirmed: nobody was shown what is lost, or nobody has confirmed it within the hour
    :raises BackupError, RestoreError: it cannot succeed; the database was not touched
    :raises DatabaseError: the server gives no answer, or sessions do not end
    """
    stated = newest(ledger, run, RESTORE_STATED)
    if stated is None:
        raise RestoreUnconfirmed(
            "nobody was shown what would be lost",
            expected=f"a ledger entry {RESTORE_STATED} of this run",
            remedy="clear the task that states the loss",
        )
    statement = RestoreLoss.model_validate_json(stated.payload["statement"])
    given = confirmation(ledger, run, statement.digest)
    restored = restore(site.database, site.workshop, statement, given, now=now)
    payload = {
        "backup": restored.backup,
        "kept": restored.kept,
        "by": restored.by,
        **named(restored.database),
        "minutes": statement.minutes,
        "revisions": {table: list(found) for table, found in statement.revisions_then.items()},
    }
    entry = record(ledger, run, RESTORED, payload, number=statement.digest[:16])
    return dict(entry.payload)
