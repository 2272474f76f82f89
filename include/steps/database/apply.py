"""The migration of the live database: decided, backed up, intended, run, looked at again, recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from include.backup.dump import find_backup
from include.backup.verify import last_verification, must_be_verified
from include.errors import BackupMissing, MigrationError, MigrationRefused, SchemaDiffers, WrongDatabase
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.apply import Migration, Permit
from include.migration.observe import connection, schema_now, state
from include.migration.preflight import the_table
from include.migration.reading import reading
from include.migration.survey import Survey
from include.steps.database.backup import must_be_fresh, proven, utc_now
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    NOTHING_PENDING,
    SURVEYED,
    TRIED_OUT,
    note,
    own_intent,
)
from include.steps.database.gate import decided_about
from include.steps.database.intent import before_an_attempt, described, identity_in, job_of, named, rows_at_risk
from include.steps.database.look import must_be_as_surveyed
from include.steps.database.rehearse import Started, nobody
from include.steps.database.rest import found_at_rest, must_be
from include.steps.database.schemas import kept_schemas
from include.steps.database.site import Site
from include.steps.database.traffic import Ask, nobody_asked
from include.steps.database.turn import must_be_its_turn
from include.steps.database.wanted import must_be_wanted, must_not_be_undone
from include.steps.record import all_recorded, record, recorded, require, require_approval
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    WAY_BACK_INTENDED,
    course_of,
    standing_of,
)

log = logging.getLogger(__name__)


def migrate(
    run: ReleaseRun,
    site: Site,
    ledger: Ledger,
    *,
    started: Started = nobody,
    traffic: Ask = nobody_asked,
    now: Callable[[], datetime] = utc_now,
) -> dict[str, Any]:
    """Migrate the live database, or go on with it where an earlier try was stopped.

    Before anything is touched, the intent is in the ledger: revision set, steps, files, safety backup. Where an
    earlier try is known to have changed nothing, it is done anew, with all that comes before it. Who has the
    environment is asked before each attempt.

    :param started: told of the migration when it begins, so that a killed task can cancel it
    :param traffic: asks the cluster who has the traffic and the environment
    :return: ``applied`` whether anything was pending, and what was recorded
    :raises ApprovalError: nobody has decided about exactly this
    :raises BackupMissing, BackupDiffers: no safety backup that was just written and verified
    :raises MigrationRefused: something is not what was decided about, or another release is under way; nothing was
        touched
    :raises MigrationError: with the state in which the database is
    """
    intent = own_intent(ledger, run)
    if intent is not None:
        must_not_be_undone(intent, course_of(run, ledger))
    if done := recorded(ledger, run, MIGRATED):
        return {"applied": True, **done.payload}
    # A run that was deleted and begun anew under its id goes on with what it finds, by a Go of its own.
    if intent is None or intent.payload.get("born", "") != run.born:
        require_approval(ledger, decided_about(run, ledger), now())
    if intent is None:
        with reading(site.tree) as reader:
            found = must_be_as_surveyed(run, site, ledger, reader)
        if not found.preflight.plan:
            note(ledger, run, NOTHING_PENDING, {"revisions": sorted(found.preflight.current)})
            return {"applied": False, "sentence": "nothing is pending: the schema is the release's already"}
        must_be_its_turn(run, ledger, traffic(), now())
        intent = _intended(run, site, ledger, found, now())

    def permit() -> None:
        must_be_wanted(run, ledger, intent)
        must_be_its_turn(run, ledger, traffic(), now())
        before_an_attempt(run, ledger, intent)

    return {"applied": True, **_run(run, site, ledger, intent, started, permit)}


def verify_migrated(run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
    """Look at the live database: version rows and schema are what the rehearsal ended with.

    :return: ``revisions``, ``fingerprint`` and the tables of every schema
    :raises WrongDatabase: the connection leads elsewhere
    :raises MigrationRefused: the version rows are others
    :raises SchemaDiffers: the schema is another one
    """
    tried = require(ledger, run, TRIED_OUT, before="the verification").payload
    surveyed = require(ledger, run, SURVEYED, before="the verification").payload
    with connection(site.database) as opened:
        found, schema = state(opened), schema_now(opened)
    must_be(found.identity, identity_in(surveyed))
    table = the_table(site.tree, found)
    revisions = sorted(table.revisions) if table else []
    if revisions != list(tried["target"]):
        raise MigrationRefused(
            "the database is not at the release's revisions",
            expected=", ".join(tried["target"]),
            seen=", ".join(revisions) or "no revision at all",
            remedy="read the log of the migration",
        )
    if schema.fingerprint != tried["fingerprint"]:
        after = kept_schemas(site.store, tried["schemas"]).after
        raise SchemaDiffers(
            "the schema is not the one that the rehearsal ended with",
            expected=f"fingerprint {tried['fingerprint'][:16]}",
            seen=", ".join(after.differences(schema)[:20]),
            remedy="compare both databases; the recorded way back is still there",
        )
    tables = sorted(name.removeprefix("table ") for name in schema.objects if name.startswith("table "))
    payload = {"revisions": revisions, "fingerprint": schema.fingerprint, "tables": tables}
    return dict(record(ledger, run, MIGRATION_VERIFIED, payload).payload)


def _intended(run: ReleaseRun, site: Site, ledger: Ledger, found: Survey, now: datetime) -> Entry:
    tried = require(ledger, run, TRIED_OUT, before="the migration").payload
    backup = proven(ledger, run, "safety")
    must_be_fresh(backup, site, now)
    _must_hold(site, backup, found)
    payload = {
        **named(found.preflight.identity),
        **({"born": run.born} if run.born else {}),
        "current": sorted(found.preflight.current),
        "target": sorted(found.preflight.target),
        **described(found.preflight.plan, found.job("").graph, found.inspection.env_digest, found.forward),
        "before": found.before.fingerprint,
        "expected": tried["fingerprint"],
        "backup": backup.payload["backup"],
        "backup_sha256": backup.payload["sha256"],
        "rehearsal": tried["id"],
        "rehearsed_on": tried["backup"],
        "schemas": tried["schemas"],
    }
    earlier = len(all_recorded(ledger, run, MIGRATION_INTENDED))
    return record(ledger, run, MIGRATION_INTENDED, payload, number=earlier + 1 if earlier else 0)


def migration_key(run: ReleaseRun) -> str:
    """By which every try of a run's migration is known in the database."""
    return f"{run.release_id}:migration"


def _must_hold(site: Site, backup: Entry, found: Survey) -> None:
    """The backup is there, is verified, and is of this database at this revision set.

    :raises BackupMissing, ArchiveUnusable, BackupDiffers: it is not
    :raises WrongDatabase: it is of another database
    :raises MigrationRefused: it is of another revision set
    """
    manifest = find_backup(site.store, str(backup.payload["backup"]))
    verification = last_verification(site.store, manifest)
    if verification is None:
        raise BackupMissing(
            f"nobody knows what the verification of backup {manifest.id} has found",
            expected="its result beside the backup",
            remedy="clear the task that verifies the safety backup",
        )
    must_be_verified(verification)
    if manifest.database != found.preflight.identity:
        raise WrongDatabase(
            "the safety backup is of another database than the one to be migrated",
            expected=found.preflight.identity.shown,
            seen=manifest.database.shown,
            remedy="back up the database that will be migrated",
        )
    held = {revision for revisions in manifest.revisions.values() for revision in revisions}
    if not found.preflight.current <= held:
        raise MigrationRefused(
            "the safety backup is of another revision set than the database has now",
            expected=", ".join(sorted(found.preflight.current)),
            seen=", ".join(sorted(held)) or "no revision at all",
            remedy="take another backup: somebody has migrated since then",
        )


def _run(
    run: ReleaseRun, site: Site, ledger: Ledger, intent: Entry, started: Started, permit: Permit
) -> Mapping[str, Any]:
    told = intent.payload
    schemas = kept_schemas(site.store, told["schemas"])
    job, _ = job_of(intent, site, key=migration_key(run), before=schemas.before, expected=schemas.after)
    migration = Migration(job, site.database, permit=permit)
    started(migration)
    try:
        outcome = migration.run()
    except MigrationError as error:
        log.error("the database is at: %s", error.state or "not known")  # noqa: TRY400 - the caller logs it
        raise
    payload = {
        **outcome.record(),
        "recorded": told["current"],
        "backup": told["backup"],
        "rehearsal": told["rehearsal"],
    }
    return record(ledger, run, MIGRATED, payload).payload


def gave_up(run: ReleaseRun, site: Site, ledger: Ledger) -> dict[str, Any]:
    """Look where a migration that is not tried again has left the database; the old state is recorded.

    Then nothing of this run stands in the way of going back, and the next one begins from the beginning. While
    another migration runs, what is seen is not what will be: nothing is said then. Where the first revision may
    have changed rows before it was recorded, the old revisions and the old schema are no old state.

    :return: ``old`` whether nothing was changed, and ``revisions`` where something had begun
    :raises MigrationRefused: rows may have been changed, which nothing can take back but the backup
    :raises WrongDatabase: the connection leads elsewhere, which says nothing about what was migrated
    :raises MigrationBusy: another migration is running
    """
    intent = recorded(ledger, run, MIGRATION_INTENDED)
    if intent is None:
        return {"old": True}
    told = intent.payload
    with found_at_rest(site, migration_key(run), identity_in(told)) as rest:
        # Where a way back has begun the old state may be its doing, with a part of another run in between.
        if recorded(ledger, run, MIGRATED) or _going_back(run, ledger):
            return {"old": False, "revisions": rest.revisions}
        old = (rest.revisions, rest.fingerprint) == (told["current"], told["before"])
        if old and (revision := rows_at_risk(run, ledger, intent)):
            raise MigrationRefused(
                "the database is at the old revisions with the old schema, and rows may have been changed",
                expected=f"revision {revision} not begun, or ended",
                seen="begun; it works outside of a transaction, or nobody could read beforehand what it does",
                remedy=f"clear migrate: it goes on with {revision}; or restore backup {told['backup']} by hand",
            )
        if old:
            payload = {"revisions": rest.revisions, "fingerprint": rest.fingerprint, "backup": told["backup"]}
            record(ledger, run, LEFT_OLD, payload, number=intent.sequence)
    return {"old": old, "revisions": rest.revisions}


def _going_back(run: ReleaseRun, ledger: Ledger) -> bool:
    """Whether a way back of this release has begun, and has neither ended nor changed nothing."""
    return any(entry.kind == WAY_BACK_INTENDED for entry in standing_of(run, ledger))
