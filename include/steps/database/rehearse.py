"""The migration, tried out on a copy of the environment's own data: up, the old version on it, down, up again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from include.backup.copies import take_stock
from include.backup.dump import find_backup
from include.backup.manifest import Manifest, folder_name
from include.database.connection import Database
from include.database.schema import Schema
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.apply import Migration
from include.migration.job import Job, Outcome
from include.migration.reading import TreeReader, reading
from include.migration.survey import Survey, survey, survey_back
from include.steps.database.backup import proven
from include.steps.database.copy import Copy, copied, files, must_have_room, rewritten
from include.steps.database.entries import TRIED_OUT, newest, note
from include.steps.database.look import must_be_as_surveyed, rehearsal_digest
from include.steps.database.schemas import keep_schemas
from include.steps.database.site import Site
from include.steps.record import record
from include.steps.run import ReleaseRun
from include.steps.schema_course import REHEARSED

log = logging.getLogger(__name__)

Started = Callable[[Migration], object]
"""Told of each migration when it begins, so that a killed task can cancel it."""


def nobody(_: Migration) -> None:
    """For whoever cancels nothing."""


@dataclass(frozen=True)
class SuiteResult:
    """What the old version's own tests say about it on a migrated copy.

    :param name: which suite it was, for the record
    :param sentences: what passed or failed
    """

    name: str
    ok: bool
    sentences: tuple[str, ...] = ()


Suite = Callable[[Database], SuiteResult]


@dataclass(frozen=True)
class Trying:
    """How a rehearsal is done.

    :param old_version: runs the old version's tests against a database; None where the plan names none
    """

    old_version: Suite | None = None
    started: Started = nobody


def rehearse(run: ReleaseRun, site: Site, ledger: Ledger, trying: Trying | None = None) -> dict[str, Any]:
    """Rehearse the surveyed migration on a copy of the run's proven backup, and record what was proven.

    Only where the old version's own tests passed on the migrated copy, the ledger says that it works there: then
    going back needs no restore.

    :return: the recorded evidence, for the gate and for the migration
    :raises MigrationRefused: what was surveyed has changed, the backup is of another schema, the copy would be too
        large, or the way back that the plan asks for is none
    :raises MigrationError: the rehearsal has failed, which is what it is for
    :raises SchemaDiffers: down does not lead to the old schema, or the second way up not to the first one's
    """
    with reading(site.tree) as reader:
        done = _tried_out(run, site, ledger, reader, trying or Trying())
    if done.payload["old_version"]["proven"]:
        told = ("id", "backup", "survey", "recorded", "target", "fingerprint", "previous", "old_version")
        record(ledger, run, REHEARSED, {name: done.payload[name] for name in told}, number=done.payload["id"])
    return dict(done.payload)


def _tried_out(run: ReleaseRun, site: Site, ledger: Ledger, reader: TreeReader, trying: Trying) -> Entry:
    backup = str(proven(ledger, run, "rehearsal").payload["backup"])
    live = must_be_as_surveyed(run, site, ledger, reader)
    way = {"plan": rehearsal_digest(site.plan), "previous": run.release.previous}
    done = newest(ledger, run, TRIED_OUT, backup=backup, survey=live.digest, **way)
    if done is not None and (done.payload["old_version"]["proven"] or site.plan.rehearsal.old_version is None):
        return done
    manifest = find_backup(site.store, backup)
    needed = must_have_room(site)
    with copied(site, manifest, key=run.release_id) as copy:
        found = _Rehearsal(run, site, copy, reader, live, trying).play()
    evidence = {**found, "backup": backup, "backup_sha256": manifest.sha256, "bytes": needed, **way}
    evidence |= _kept(site, manifest, live, evidence)
    return note(ledger, run, TRIED_OUT, evidence)


@dataclass
class _Rehearsal:
    """One rehearsal on one copy."""

    run: ReleaseRun
    site: Site
    copy: Copy
    reader: TreeReader
    live: Survey
    trying: Trying
    schema: Schema = field(init=False)

    def play(self) -> dict[str, Any]:
        here = self._surveyed()
        self._must_be_alike(here)
        if not here.preflight.plan:
            self.schema = here.before
            return self._evidence({}, {"proven": False, "sentences": [], "name": ""}, {"proven": True, "why": ""})
        nodes = files(self.copy.database)
        up = self._migrated("up", here.job(self._key("up"), limits=self.site.limits))
        self.schema = up.schema
        seen = {
            "up": up.record(),
            "rewritten": list(rewritten(nodes, files(self.copy.database))),
            "rows": self._rows(),
        }
        old_version = self._old_version()
        down, way_back = self._way_back(here)
        return self._evidence({**seen, **down}, old_version, way_back)

    def _surveyed(self) -> Survey:
        # The linter has seen the same SQL for the live database.
        return survey(self.reader, self.copy.database, backup=None)

    def _must_be_alike(self, here: Survey) -> None:
        mine, theirs = here.preflight, self.live.preflight
        if (mine.plan, mine.current) != (theirs.plan, theirs.current):
            raise MigrationRefused(
                "the backup is of another revision set than the database has now",
                expected=f"{sorted(theirs.current)}",
                seen=f"{sorted(mine.current)} in the copy",
                remedy="take another backup: somebody has migrated since then",
            )
        if here.before.fingerprint != self.live.before.fingerprint:
            raise MigrationRefused(
                "the backup is of another schema than the database has now",
                expected="a copy with the same schema",
                seen=", ".join(self.live.before.differences(here.before)[:20]),
                remedy="take another backup: somebody has changed the schema since then",
            )

    def _way_back(self, here: Survey) -> tuple[dict[str, Any], dict[str, Any]]:
        back = survey_back(self.reader, self.copy.database, self.live.preflight.current)
        if refused := self.live.way_back or back.refused:
            if self.site.plan.migration.way_back_needed:
                raise refused
            log.warning("there is no way back by the tree: %s", refused)
            return {}, {"proven": False, "why": str(refused)}
        down_job = back.job(self._key("down"), limits=self.site.limits, expected=here.before)
        down = self._migrated("down", down_job)
        again_job = self._surveyed().job(self._key("again"), limits=self.site.limits, expected=self.schema)
        again = self._migrated("up again", again_job)
        seen = {"down": down.record(), "again": again.record()}
        return seen, {"proven": True, "why": "", "loses": [str(one) for one in back.statement.losses]}

    def _migrated(self, what: str, job: Job) -> Outcome:
        log.info("rehearsal: %s, %d step(s)", what, len(job.plan))
        migration = Migration(job, self.copy.database)
        self.trying.started(migration)
        outcome = migration.run()
        log.info("rehearsal: %s took %.1f s", what, sum(outcome.timings.values()))
        return outcome

    def _key(self, way: str) -> str:
        return f"{self.run.release_id}:rehearsal:{way}"

    def _rows(self) -> list[str]:
        """What the migration has done to the number of rows; what was not counted is said to be unknown."""
        stock = take_stock(self.copy.database, count_seconds=self.site.workshop.count_seconds)
        then = self.copy.contents.inventory.rows
        return row_changes({name: then[name] for name in then.keys() - self.copy.manifest.revisions}, stock.rows)

    def _old_version(self) -> dict[str, Any]:
        if self.trying.old_version is None:
            why = "the plan names no tests of the old version (rehearsal.old_version)"
            return {"proven": False, "name": "", "sentences": [why]}
        result = self.trying.old_version(self.copy.database)
        for sentence in result.sentences:
            log.info("%s", sentence)
        return {"proven": result.ok, "name": result.name, "sentences": list(result.sentences)}

    def _evidence(
        self, seen: Mapping[str, Any], old_version: Mapping[str, Any], way_back: Mapping[str, Any]
    ) -> dict[str, Any]:
        preflight = self.live.preflight
        return {
            "survey": self.live.digest,
            "recorded": sorted(preflight.current),
            "target": sorted(preflight.target),
            "steps": [step.revision for step in preflight.plan],
            "before": self.live.before.fingerprint,
            "fingerprint": self.schema.fingerprint,
            "schema": self.schema.record(),
            "restore_seconds": self.copy.restore_seconds,
            **seen,
            "old_version": dict(old_version),
            "way_back": dict(way_back),
        }


def row_changes(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> list[str]:
    """In which tables that stay the number of rows is another one, a sentence each; pure.

    :param before: without the version tables, whose rows are what a migration changes
    """
    told = []
    for name in sorted(before.keys() & after.keys()):
        then, now = before[name], after[name]
        if then is None or now is None:
            told.append(f"{name}: not counted, so not compared")
        elif then != now:
            told.append(f"{name}: {then} rows before, {now} after")
    return told


def _kept(site: Site, manifest: Manifest, live: Survey, evidence: dict[str, Any]) -> dict[str, Any]:
    """Give the evidence its id, and put both schemas where they belong: beside the backup.

    What the old version's tests said, and which they were, belongs to the id: a rehearsal that proved it is no
    other's namesake.
    """
    after = Schema.from_record(evidence.pop("schema"))
    old_version = [evidence["previous"], evidence["old_version"]["proven"], evidence["plan"]]
    facts = [evidence["backup_sha256"], evidence["survey"], evidence["fingerprint"], *old_version]
    identifier = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    kept = keep_schemas(site.store, folder_name(manifest.id), f"rehearsal-{identifier}", live.before, after)
    return {"id": identifier, "schemas": kept}
