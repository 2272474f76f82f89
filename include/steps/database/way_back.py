"""The way back: down to the set recorded before the migration, once what it loses was confirmed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from include.errors import DatabaseError, LossNotConfirmed, MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.apply import Migration
from include.migration.observe import connection, state
from include.migration.preflight import the_table
from include.migration.reading import reading
from include.migration.survey import WayBack, survey_back
from include.migration.way_back import WayBackLoss, confirmed
from include.steps.database.confirm import confirmation, withdrawn
from include.steps.database.entries import WAY_BACK_STATED, WAY_BACK_UNKNOWN, newest, note, open_migration
from include.steps.database.intent import before_an_attempt, described, identity_in, job_of, named, rows_at_risk
from include.steps.database.rehearse import Started, nobody
from include.steps.database.rest import found_at_rest
from include.steps.database.schemas import keep_schemas, kept_schemas
from include.steps.database.site import Site
from include.steps.database.traffic import Ask, must_not_be_live, nobody_asked
from include.steps.database.wanted import must_be_on_top, must_go_down, overtaken
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    TAKEN_BACK,
    WAY_BACK_INTENDED,
    WAY_BACK_LEFT,
    course_of,
    standing_of,
    undone_by,
)

log = logging.getLogger(__name__)


def state_way_back(run: ReleaseRun, site: Site, ledger: Ledger, *, traffic: Ask = nobody_asked) -> dict[str, Any]:
    """Say what going down to the recorded set would lose, now; nothing is touched.

    :param traffic: asks the cluster who has the traffic
    :return: ``needed``; and ``digest``, ``destructive``, ``text`` of the statement, which a human confirms
    :raises MigrationRefused: there is no way down by the tree, another release has migrated on top, or users are
        on a version that needs the schema
    """
    began = open_migration(ledger, run)
    if began is None:
        return {"needed": False, "text": "no migration of this release is in the database"}
    _look_whether_it_changed_nothing(run, site, ledger, began)
    must_be_on_top(began, course_of(run, ledger))
    must_not_be_live(run, ledger, began, traffic())
    back = _surveyed(site, began)
    payload = {**back.statement.record(), "began": began.sequence, "schema": back.before.fingerprint}
    entry = note(ledger, run, WAY_BACK_STATED, payload)
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
    facts = [f"the database: {why.what}"]
    if began is None:
        facts.append("the ledger says that the migration has been undone")
    else:
        told, left = began.payload, [entry.kind for entry in standing_of(run, ledger)]
        facts.append(f"the migration began at revisions {_set(told['current'])}, towards {_set(told['target'])}")
        facts.append("it is recorded as applied" if MIGRATED in left else "how far it came is not recorded")
        if left[-1] == WAY_BACK_INTENDED:
            facts.append("taking it back has begun, how far that came is not recorded")
        facts.append(f"backup {told['backup']} was taken right before")
    payload = {
        "what": f"the way back of the migration to {run.release.version} is NOT KNOWN",
        "seen": "; ".join(facts),
        "remedy": "bring the database back, then clear way_back.state with what comes after it",
    }
    return dict(note(ledger, run, WAY_BACK_UNKNOWN, payload).payload)


def _set(revisions: Sequence[str]) -> str:
    return ", ".join(revisions) or "(none)"


def take_back(
    run: ReleaseRun, site: Site, ledger: Ledger, *, started: Started = nobody, traffic: Ask = nobody_asked
) -> dict[str, Any]:
    """Go down to the recorded set, or go on where an earlier try was stopped.

    As long as nothing is gone, what is lost is counted again first: more than what was confirmed is not taken
    away, and nothing at all without somebody's word, or against the last one. Who has the traffic is asked before
    each attempt.

    :param started: told of the migration when it begins, so that a killed task can cancel it
    :param traffic: asks the cluster who has the traffic
    :raises LossNotConfirmed: nobody has confirmed what it would destroy
    :raises MigrationRefused: there is no way down, the tree is not the one it came up with, or users are on a
        version that needs the schema
    :raises MigrationError: with the state in which the database is
    """
    began = open_migration(ledger, run)
    if began is None:
        return {"needed": False, "sentence": "no migration of this release is in the database"}
    must_be_on_top(began, course_of(run, ledger))
    must_not_be_live(run, ledger, began, traffic())
    _must_not_be_withdrawn(run, ledger)
    intent = _begun(run, ledger, began)
    if intent is None or _nothing_is_gone(site, intent):
        # Also of an earlier try that got no lock: users may have worked for a day since somebody said yes.
        back = _surveyed(site, began)
        stated = _must_be_confirmed(run, ledger, back, began)
        if intent is None or _decided_anew(intent, stated, back):
            intent = _intended(run, site, ledger, back, began)
    schemas = kept_schemas(site.store, intent.payload["schemas"])
    job, _ = job_of(intent, site, key=way_back_key(run), before=schemas.before, expected=schemas.after)

    def permit() -> None:
        must_go_down(run, ledger, intent)
        _must_not_be_withdrawn(run, ledger)
        must_not_be_live(run, ledger, began, traffic())
        before_an_attempt(run, ledger, intent)

    migration = Migration(job, site.database, permit=permit)
    started(migration)
    outcome = migration.run()
    payload = {**outcome.record(), "began": began.sequence}
    return {"needed": True, **record(ledger, run, TAKEN_BACK, payload, number=began.sequence).payload}


def way_back_key(run: ReleaseRun) -> str:
    """By which every try of a run's way back is known in the database."""
    return f"{run.release_id}:way-back"


def _begun(run: ReleaseRun, ledger: Ledger, began: Entry) -> Entry | None:
    """The run's way back that has begun and may go on; None when it has to be decided (again)."""
    intent = newest(ledger, run, WAY_BACK_INTENDED, began=began.sequence)
    course = course_of(run, ledger)
    return None if intent is None or undone_by(intent, course) or overtaken(intent, course) else intent


def _nothing_is_gone(site: Site, intent: Entry) -> bool:
    """Whether the database is still where the way back began."""
    with connection(site.database) as opened:
        table = the_table(site.tree, state(opened))
    return sorted(table.revisions if table else ()) == list(intent.payload["current"])


def _look_whether_it_changed_nothing(run: ReleaseRun, site: Site, ledger: Ledger, began: Entry) -> None:
    """Record it of a way back that has begun and is asked about again: then the schema counts as what it is.

    Nobody can say so where its first step may have changed rows unseen.
    """
    intent = _begun(run, ledger, began)
    if intent is None or rows_at_risk(run, ledger, intent):
        return
    told = intent.payload
    with found_at_rest(site, way_back_key(run), identity_in(told)) as rest:
        if (rest.revisions, rest.fingerprint) == (told["current"], told["before"]):
            payload = {"began": began.sequence, "revisions": rest.revisions, "fingerprint": rest.fingerprint}
            record(ledger, run, WAY_BACK_LEFT, payload, number=intent.sequence)


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


def _must_not_be_withdrawn(run: ReleaseRun, ledger: Ledger) -> None:
    """Refuse to go down, or on, against the last answer.

    :raises LossNotConfirmed: it was a no, or silence
    """
    if last := withdrawn(ledger, run):
        raise LossNotConfirmed(
            "the schema is kept: that was the last answer",
            expected="a yes that is newer",
            seen=f"ledger entry {last.sequence}, {last.payload['why']}",
            remedy="clear way_back.state: it says what going back would lose now, and asks again",
        )


def _must_be_confirmed(run: ReleaseRun, ledger: Ledger, back: WayBack, began: Entry) -> Entry:
    """Return the statement that was confirmed.

    :raises LossNotConfirmed: there is none, or it covers less than what would be lost now
    """
    asked = back.statement
    stated = newest(ledger, run, WAY_BACK_STATED, began=began.sequence)
    given = None
    if stated is not None:
        asked = WayBackLoss.from_record(stated.payload)
        given = confirmation(ledger, run, asked.digest)
    if error := confirmed(asked, given, back.statement):
        raise error
    assert stated is not None, "without a statement nothing is confirmed"
    return stated


def _decided_anew(intent: Entry, stated: Entry, back: WayBack) -> bool:
    """Whether another schema than the one that the way back began with was shown since then, and said yes to."""
    now = back.before.fingerprint
    shown_since = stated.sequence > intent.sequence and stated.payload["schema"] == now
    return shown_since and intent.payload["before"] != now


def _intended(run: ReleaseRun, site: Site, ledger: Ledger, back: WayBack, began: Entry) -> Entry:
    statement, kept = back.statement, began.payload["schemas"]
    # What a stopped try has changed outside of a transaction is told by the schema that it began with.
    name = f"way-back-{began.sequence}-{back.before.fingerprint[:16]}"
    old = kept_schemas(site.store, kept).before
    payload = {
        "began": began.sequence,
        **named(statement.identity),
        "current": sorted(statement.current),
        "target": sorted(statement.recorded),
        **described(back.plan, back.graph, str(began.payload["env"]), back.rendered),
        "loses": [str(one) for one in statement.losses],
        "before": back.before.fingerprint,
        "schemas": keep_schemas(site.store, str(kept["folder"]), name, back.before, old),
    }
    known = all_recorded(ledger, run, WAY_BACK_INTENDED)
    earlier = sum(one.payload["began"] == began.sequence for one in known)
    number = f"{began.sequence}:{earlier + 1}" if earlier else began.sequence
    return record(ledger, run, WAY_BACK_INTENDED, payload, number=number)
