"""The last resort of a rollback: the database from the backup that its migration began with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from include.backup.dump import find_backup
from include.backup.loss import VALID, RestoreLoss, grown, still_answerable
from include.backup.restore import restore, what_stands_in_the_way, what_would_be_lost
from include.bluegreen.eligibility import Restorable
from include.errors import BackupMissing, RestoreUnconfirmed, RollbackBlocked, StellwerkError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.backup import utc_now
from include.steps.database.confirm import confirmation
from include.steps.database.entries import (
    BACKUP_PROVEN,
    RESTORE_STATED,
    newest,
    newest_of_release,
    open_migration,
    to_return_to,
)
from include.steps.database.restore_outcome import record_restored, statement_in
from include.steps.database.site import Site
from include.steps.record import record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    RESTORED,
    course_of,
    standing,
)
from include.steps.stopping import must_not_be_undone_since, open_stop

log = logging.getLogger(__name__)

LONGEST_SECONDS: Final = 20.0


def restorable(run: ReleaseRun, open_site: Callable[[], Site], ledger: Callable[[], Ledger]) -> Restorable:
    """Whether there is a backup that a full restore could bring back; never raises: it is one option of several.

    :param open_site: opens database and store; called only where the ledger knows of a backup
    """
    if run.environment.database is None:
        return Restorable(usable=False, reason=f"the plan of {run.environment.name} names no database")
    try:
        opened = ledger()
        if recorded(opened, run, RESTORED):
            return Restorable(usable=True, reason="this run has restored the database")
        return _known(run, open_site, opened)
    except StellwerkError as error:
        return _none_because(error)


def _known(run: ReleaseRun, open_site: Callable[[], Site], ledger: Ledger) -> Restorable:
    backup = backup_to_restore(run, ledger)
    proof = _proof(run, ledger, backup)
    if proof is None:
        return Restorable(usable=False, reason=f"nobody has verified backup {backup}")
    site = open_site()
    return _in_time(lambda: _looked_at(site, backup, str(proof.payload["sha256"])))


def _looked_at(site: Site, backup: str, sha256: str) -> Restorable:
    manifest = find_backup(site.store, backup)
    if manifest.sha256 != sha256:
        return Restorable(usable=False, reason=f"backup {backup} is not the one that was verified")
    if why := what_stands_in_the_way(site.database, site.workshop, manifest):
        return Restorable(usable=False, reason=f"backup {backup} cannot be restored here: {'; '.join(why)}")
    at = f"{manifest.snapshot_at:%Y-%m-%d %H:%M} UTC"
    return Restorable(usable=True, reason=f"backup {backup} of {at} is verified")


def _in_time(look: Callable[[], Restorable]) -> Restorable:
    """What was found, or that it was not in time: a store that hangs must not hold up who waits to be told."""
    found: list[Restorable] = []

    def looking() -> None:
        try:
            found.append(look())
        except Exception as error:  # noqa: BLE001 - one option of several: whatever it is, it is only a reason
            found.append(_none_because(error))

    thread = threading.Thread(target=looking, daemon=True)
    thread.start()
    thread.join(LONGEST_SECONDS)
    return found[0] if found else _none_because(TimeoutError(f"no answer in {LONGEST_SECONDS:g} s"))


def _none_because(error: Exception) -> Restorable:
    if isinstance(error, BackupMissing):
        return Restorable(usable=False, reason=error.what)
    return Restorable(usable=False, reason=f"whether the backup can be restored is not known: {error}")


def backup_to_restore(run: ReleaseRun, ledger: Ledger) -> str:
    """The backup that a full restore of this release would bring back.

    :raises BackupMissing: no migration of this release is in the database, so none was taken for it
    """
    began = to_return_to(ledger, run)
    if began is None:
        raise BackupMissing(
            f"no migration of {run.release.version} is in the database of {run.environment.name}",
            expected="a migration of this release, with the safety backup that it began with",
            remedy="leave the database as it is, or restore another backup by hand",
        )
    return str(began.payload["backup"])


def state_restore(
    run: ReleaseRun, site: Site, ledger: Ledger, *, backup: str = "", now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Say what a full restore would lose, in minutes and rows; nothing is touched.

    A statement that was confirmed stays the newest while it covers what would be lost now: nobody is asked twice
    about the same. What else whoever answers has to know is recorded with it: whether users are down by now
    (``stopped``), and the ``restore_seconds`` that the backup took when it was verified.

    :param backup: another one than the open migration's
    :return: ``digest`` of the statement, which a human confirms, and its ``sentences``
    :raises BackupMissing, ArchiveUnusable, ArchiveForeign: there is none to restore from
    :raises DatabaseError: the server gives no answer
    """
    before = newest(ledger, run, RESTORE_STATED)
    if before is not None and recorded(ledger, run, RESTORED):
        return _told(before)
    named = backup or backup_to_restore(run, ledger)
    statement = what_would_be_lost(site.database, site.workshop, named, made_at=now())
    if before is not None and _covered(run, ledger, before, statement):
        log.info("no more is lost than was confirmed")
        return _told(before)
    sentences = [*statement.sentences, *_undone_too(run, ledger)]
    for sentence in sentences:
        log.info("%s", sentence)
    payload = {
        "digest": statement.digest,
        "backup": named,
        "sentences": sentences,
        "stopped": open_stop(run, ledger) is not None,
        "restore_seconds": _took(run, ledger, named),
        "statement": statement.model_dump_json(),
    }
    return _told(record(ledger, run, RESTORE_STATED, payload, number=statement.digest[:16]))


def _undone_too(run: ReleaseRun, ledger: Ledger) -> list[str]:
    """What other releases have done to the schema since the backup, a sentence each."""
    began = open_migration(ledger, run)
    on_top = [one for one in standing(course_of(run, ledger)) if began and one.sequence > began.sequence]
    others = sorted({one.release for one in on_top} - {run.release.version})
    return [f"What {version} has migrated since then is undone as well." for version in others]


def _told(stated: Entry) -> dict[str, Any]:
    return {name: stated.payload[name] for name in ("digest", "backup", "sentences")}


def _took(run: ReleaseRun, ledger: Ledger, backup: str) -> float | None:
    """How long it took to restore this backup when it was verified."""
    proof = _proof(run, ledger, backup)
    return proof.payload.get("restore_seconds") if proof else None


def _proof(run: ReleaseRun, ledger: Ledger, backup: str) -> Entry | None:
    return newest_of_release(ledger, run, BACKUP_PROVEN, backup=backup)


def _covered(run: ReleaseRun, ledger: Ledger, before: Entry, now: RestoreLoss) -> bool:
    statement = statement_in(before)
    if confirmation(ledger, run, statement.digest) is None:
        return False
    if still_answerable(statement.made_at, now=now.made_at) <= timedelta(0):
        return False
    more = grown(statement, now)
    for sentence in more:
        log.warning("more than was confirmed: %s", sentence)
    return not more


def restore_fully(
    run: ReleaseRun, site: Site, ledger: Ledger, *, now: Callable[[], datetime] = utc_now
) -> dict[str, Any]:
    """Bring the backup of the newest statement back, or go on with it where an earlier try was stopped.

    :raises RestoreUnconfirmed: nobody was shown what is lost, nobody has confirmed it within the hour, or more
        would be lost by now
    :raises RollbackRefused: another run has restored it, or taken the schema back, since it was stated
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
    if done := recorded(ledger, run, RESTORED):
        return dict(done.payload)
    must_not_be_undone_since(run, ledger)
    statement = statement_in(stated)
    given = confirmation(ledger, run, statement.digest)
    restored = restore(site.database, site.workshop, statement, given, now=now)
    return dict(record_restored(run, ledger, statement, restored.lost).payload)


def must_be_confirmed_now(run: ReleaseRun, ledger: Ledger, *, now: datetime | None = None) -> None:
    """Refuse to touch anything that nobody has said yes to; what is done already needs no other yes.

    :param now: refuse a yes to what was counted more than an hour ago, too; None where no more is touched by it
    :raises RestoreUnconfirmed: nobody was shown what is lost, or nobody has confirmed it
    """
    if recorded(ledger, run, RESTORED):
        return
    stated = newest(ledger, run, RESTORE_STATED)
    seen = "no statement" if stated is None else f"none of {stated.payload['digest'][:16]}"
    if stated is not None and confirmation(ledger, run, str(stated.payload["digest"])):
        made_at = statement_in(stated).made_at
        if now is None or now - made_at <= VALID:
            return
        seen = f"one of {made_at:%Y-%m-%d %H:%M} UTC"
    raise RestoreUnconfirmed(
        "nothing was touched: nobody has confirmed what is lost",
        expected="a confirmation of the newest statement, not older than an hour",
        seen=seen,
        remedy="clear the task that states the loss",
    )


def must_be_answerable(stated: Mapping[str, Any], *, now: datetime) -> timedelta:
    """How long a yes to this statement comes in time.

    :param stated: the payload of its entry
    :raises RestoreUnconfirmed: none would: the restore would refuse it
    """
    made_at = RestoreLoss.model_validate_json(stated["statement"]).made_at
    left = still_answerable(made_at, now=now)
    if left > timedelta(0):
        return left
    raise RestoreUnconfirmed(
        "nobody is asked: more may be lost by now than was counted",
        expected="a statement that is not as old as that",
        seen=f"one of {made_at:%Y-%m-%d %H:%M} UTC",
        remedy="clear the task that states the loss",
    )


def must_be_restored(run: ReleaseRun, ledger: Ledger) -> None:
    """Refuse to bring the old version up on a database that this run has not restored.

    :raises RollbackBlocked: it has not
    """
    if recorded(ledger, run, RESTORED) is None:
        raise RollbackBlocked(
            "the database has not been restored",
            expected=f"a ledger entry {RESTORED} of run {run.run_id}",
            seen="none: an earlier step did not do its work, or its state was set by hand",
            remedy="clear the steps of the restore, or trigger the rollback with another option",
        )
