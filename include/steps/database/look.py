"""Look at a migration before anybody decides: what would run, what is wrong with it, is there a way back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from include.backup.dump import find_backup
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.policy import Verdict, decide
from include.migration.reading import TreeReader, reading
from include.migration.survey import Survey, survey
from include.plan.database import DatabasePlan
from include.steps.database.backup import proven
from include.steps.database.entries import BACKED_UP, SURVEYED, newest, note
from include.steps.database.site import Site
from include.steps.planned import record_plan
from include.steps.record import require
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)


def look(run: ReleaseRun, site: Site, ledger: Ledger, beside: Sequence[str] = ()) -> dict[str, Any]:
    """Survey the live database and the new version's tree, and record what was found, good or bad.

    Where the run has taken a backup, the connection has to lead to the database that it is of.

    :param beside: what else those who decide are to be warned of, a sentence each
    :return: the recorded facts, for the gate and the report
    :raises MigrationRefused: with everything that stops the migration; it is in the ledger by then
    :raises TreeUnusable: the tree's Python, its Alembic or the linter cannot be run
    :raises DatabaseError: the database gives no answer, or does not let the role look
    """
    with reading(site.tree) as reader:
        found = survey_now(run, site, ledger, reader)
    verdict = decide(found.findings, site.policy)
    record_plan(run, ledger)
    told = _told(verdict)
    told["warned"] += beside
    entry = note(ledger, run, SURVEYED, {**found.record(), **told, "policy": policy_digest(site)})
    for line in facts(entry):
        log.info("%s", line)
    if error := verdict.error():
        raise error
    return dict(entry.payload)


def survey_now(run: ReleaseRun, site: Site, ledger: Ledger, reader: TreeReader) -> Survey:
    """The live database as it is at this moment, and the tree as it was read."""
    identity = None
    if newest(ledger, run, BACKED_UP, purpose="rehearsal"):
        backup = proven(ledger, run, "rehearsal")
        identity = find_backup(site.store, str(backup.payload["backup"])).database
    return survey(reader, site.database, backup=identity, linter=site.linter)


def must_be_as_surveyed(run: ReleaseRun, site: Site, ledger: Ledger, reader: TreeReader) -> Survey:
    """The survey of this moment, which is what the run has recorded.

    :raises MigrationRefused: database, tree or policy are not what they were, or a finding stops it
    """
    recorded = require(ledger, run, SURVEYED, before="the migration").payload
    found = survey_now(run, site, ledger, reader)
    before, after = (recorded["digest"], recorded["policy"]), (found.digest, policy_digest(site))
    if before != after:
        raise MigrationRefused(
            "what was looked at has changed",
            expected=f"survey {recorded['digest'][:12]}: {recorded['current']} to {recorded['target']}",
            seen=f"survey {found.digest[:12]}: {sorted(found.preflight.current)} to "
            f"{sorted(found.preflight.target)}"
            + (", under another policy" if recorded["policy"] != after[1] else ""),
            remedy="begin again with the survey; nothing was touched",
        )
    if error := decide(found.findings, site.policy).error():
        raise error
    return found


def policy_digest(site: Site) -> str:
    """What the plan says about findings and limits, as one digest."""
    text = site.plan.migration.model_dump_json() + site.plan.limits.model_dump_json()
    return hashlib.sha256(text.encode()).hexdigest()


def rehearsal_digest(plan: DatabasePlan) -> str:
    """What the plan says about how a rehearsal is done, as one digest."""
    suite = plan.rehearsal.old_version
    text = f"{suite.model_dump_json() if suite else ''} {plan.migration.way_back_needed}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def facts(surveyed: Entry) -> tuple[str, ...]:
    """What was found, a sentence each, the most important first."""
    told = surveyed.payload
    steps = ", ".join(told["steps"]) or "nothing is pending"
    lines = [f"{told['database']}: {_set(told['current'])} → {_set(told['target'])} ({steps})"]
    lines += [f"stops it: {text}" for text in told["blocking"]]
    lines += [f"accepted: {text}" for text in told["accepted"]]
    lines += [f"warning: {text}" for text in told["warned"]]
    lines += [f"warning: nothing was found for the acceptance {text}: remove it" for text in told["idle"]]
    lines.append(f"no way down: {told['way_back']}" if told["way_back"] else "there is a way down by the tree")
    return tuple(lines)


def _told(verdict: Verdict) -> dict[str, list[str]]:
    return {
        "blocking": [str(one) for one in verdict.blocking],
        "warned": [str(one) for one in verdict.warned],
        "accepted": [f"{one}; by {who.by}: {who.reason}" for one, who in verdict.accepted],
        "idle": [f"{one.rule} in {one.revision or 'no revision'} by {one.by}" for one in verdict.idle],
    }


def _set(revisions: list[str]) -> str:
    return ", ".join(revisions) or "no revision"
