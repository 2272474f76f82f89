"""The way back: down to the set recorded before the migration, once what it loses was confirmed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from include.database.schema import Schema
from include.errors import DatabaseError, MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.apply import Migration
from include.migration.reading import reading
from include.migration.survey import WayBack, survey_back
from include.migration.way_back import WayBackLoss, confirmed
from include.steps.database.confirm import confirmation
from include.steps.database.entries import (
    WAY_BACK_INTENDED,
    WAY_BACK_STATED,
    WAY_BACK_UNKNOWN,
    newest,
    note,
    open_migration,
)
from include.steps.database.intent import described, identity_in, job_of, named
from include.steps.database.rehearse import Started, nobody
from include.steps.database.schemas import kept_schemas
from include.steps.database.site import Site
from include.steps.record import record, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_proof import MIGRATED, TAKEN_BACK

log = logging.getLogger(__name__)


def state_way_back(run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
    """Say what going down to the recorded set would lose, now; nothing is touched.

    :return: ``needed``; and ``digest``, ``destructive``, ``text`` of the statement, which a human confirms
    :raises MigrationRefused: there is no way down by the tree
    """
    began = open_migration(ledger, run)
    if began is None:
        return {"needed": False, "text": "no migration of this release is in the database"}
    back = _surveyed(site, began)
    entry = note(ledger, run, WAY_BACK_STATED, {**back.statement.record(), "began": began.sequence})
    log.info("%s", back.statement)
    told = entry.payload
    return {
        "needed": True,
        "digest": told["digest"],
        "destructive": back.statement.destructive,
        "text": told["text"],
    }


def way_back_unknown(run: ReleaseRun, ledger: Ledger, why: DatabaseError) -> dict[str, Any]:
    """Say what the ledger knows of a migration whose database gives no answer; what it does not know is said too.

    :return: ``what``, ``seen`` and ``remedy`` in words, as they are recorded
    :raises LedgerError: nothing at all is known
    """
    began = open_migration(ledger, run)
    applied = recorded(ledger, run, MIGRATED)
    facts = [f"the database: {why.what}"]
    if began is None:
        facts.append("the ledger says that the migration has been undone")
    else:
        told = began.payload
        facts.append(f"the migration began at revisions {_set(told['current'])}, towards {_set(told['target'])}")
        facts.append("it is recorded as applied" if applied else "how far it came is not recorded")
        facts.append(f"backup {told['backup']} was taken right before")
    payload = {
        "what": f"the way back of the migration to {run.release.version} is NOT KNOWN",
        "seen": "; ".join(facts),
        "remedy": "bring the database back, then clear way_back.state with what comes after it",
    }
    return dict(note(ledger, run, WAY_BACK_UNKNOWN, payload).payload)


def _set(revisions: Sequence[str]) -> str:
    return ", ".join(revisions) or "(none)"


def take_back(run: ReleaseRun, site: Site, ledger: Ledger, *, started: Started = nobody) -> dict[str, Any]:
    """Go down to the recorded set, or go on where an earlier try was stopped.

    What is lost is counted again first: more than what was confirmed is not taken away.

    :param started: told of the migration when it begins, so that a killed task can cancel it
    :raises LossNotConfirmed: it would destroy what nobody has confirmed
    :raises MigrationRefused: there is no way down, or the tree is not the one it came up with
    :raises MigrationError: with the state in which the database is
    """
    began = open_migration(ledger, run)
    if began is None:
        return {"needed": False, "sentence": "no migration of this release is in the database"}
    intent = newest(ledger, run, WAY_BACK_INTENDED, began=began.sequence)
    if intent is None:
        back = _surveyed(site, began)
        _must_be_confirmed(run, ledger, back, began)
        intent = _intended(run, ledger, back, began)
    job, _ = job_of(intent, site, key=f"{run.release_id}:way-back", before=None, expected=_before(site, began))
    migration = Migration(job, site.database)
    started(migration)
    outcome = migration.run()
    payload = {**outcome.record(), "began": began.sequence}
    return {"needed": True, **record(ledger, run, TAKEN_BACK, payload, number=began.sequence).payload}


def _surveyed(site: Site, began: Entry) -> WayBack:
    with reading(site.tree) as reader:
        back = survey_back(reader, site.database, [str(one) for one in began.payload["current"]])
    migrated = identity_in(began.payload)
    if back.statement.identity != migrated:
        raise MigrationRefused(
            "the connection leads to another database than the one that was migrated",
            expected=migrated.shown,
            seen=back.statement.identity.shown,
            remedy="mend the connection; nothing was touched",
        )
    if back.refused:
        raise back.refused
    return back


def _must_be_confirmed(run: ReleaseRun, ledger: Ledger, back: WayBack, began: Entry) -> None:
    asked = back.statement
    stated = newest(ledger, run, WAY_BACK_STATED, began=began.sequence)
    given = None
    if stated is not None:
        asked = WayBackLoss.from_record(stated.payload)
        given = confirmation(ledger, run, asked.digest)
    if error := confirmed(asked, given, back.statement):
        raise error


def _intended(run: ReleaseRun, ledger: Ledger, back: WayBack, began: Entry) -> Entry:
    statement = back.statement
    payload = {
        "began": began.sequence,
        **named(statement.identity),
        "current": sorted(statement.current),
        "target": sorted(statement.recorded),
        **described(back.plan, back.graph, str(began.payload["env"])),
        "loses": [str(one) for one in statement.losses],
    }
    return record(ledger, run, WAY_BACK_INTENDED, payload, number=began.sequence)


def _before(site: Site, began: Entry) -> Schema:
    return kept_schemas(site.store, began.payload["schemas"]).before
