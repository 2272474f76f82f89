"""How a full restore has ended: recorded by who has made it, or found out on the server by who comes after."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from include.backup.loss import RestoreLoss
from include.backup.swap import names
from include.backup.unfinished import settle
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.database.confirm import confirmation
from include.steps.database.entries import RESTORE_STATED
from include.steps.database.intent import named
from include.steps.database.site import Site
from include.steps.record import record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_course import RESTORED, entries_of_release
from include.steps.stopping import open_stop

log = logging.getLogger(__name__)


def statement_in(stated: Entry) -> RestoreLoss:
    """What a human was shown."""
    return RestoreLoss.model_validate_json(stated.payload["statement"])


def record_restored(run: ReleaseRun, ledger: Ledger, statement: RestoreLoss, lost: RestoreLoss) -> Entry:
    """Write that the backup is in the database's place.

    :param statement: what was confirmed
    :param lost: what was lost when it happened; the statement where nobody knows
    """
    given = confirmation(ledger, run, statement.digest)
    payload = {
        "digest": statement.digest,
        "backup": statement.backup,
        "backup_at": statement.backup_at.isoformat(),
        "kept": "" if statement.target_missing else names(statement).kept,
        "by": given.by if given else "",
        **named(statement.database),
        "minutes": lost.minutes,
        "revisions": {table: list(found) for table, found in statement.revisions_then.items()},
        "lost": list(lost.sentences),
    }
    return record(ledger, run, RESTORED, payload, number=statement.digest[:16])


def settle_restores(run: ReleaseRun, ledger: Ledger, open_site: Callable[[], Site]) -> Entry | None:
    """Find out how the restores of this release have ended that nobody goes on with, whichever run has begun them.

    Afterwards users may connect to whatever database is there, and nothing is left of an attempt.

    :param open_site: called only where the application is stopped or this run has stated a loss
    :return: what is recorded of a restore that is in place and that nobody had recorded; None when there is none
    :raises RestoreBusy: somebody goes on with one
    :raises DatabaseError: that cannot be found out
    """
    if open_stop(run, ledger) is None and recorded(ledger, run, RESTORE_STATED) is None:
        return None
    site, unrecorded = open_site(), _unrecorded(run, ledger)
    stated = unrecorded.get(settle(site.database, site.workshop, unrecorded.keys()))
    if stated is None:
        return None
    log.warning("run %s has restored the database and could not record it", stated.run_id)
    statement = statement_in(stated)
    return record_restored(replace(run, run_id=stated.run_id), ledger, statement, statement)


def _unrecorded(run: ReleaseRun, ledger: Ledger) -> dict[str, Entry]:
    """The statements of restores that are not known to be done, by the mark that the server's databases bear."""
    found = entries_of_release(run, ledger, RESTORE_STATED, RESTORED)
    done = {entry.payload.get("digest") for entry in found if entry.kind == RESTORED}
    open_ones = (one for one in found if one.kind == RESTORE_STATED and one.payload["digest"] not in done)
    return {names(statement_in(one)).mark: one for one in open_ones}
