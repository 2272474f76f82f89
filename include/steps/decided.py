"""What a release's Go is bound to besides the plan: its rehearsal, and how the schema that is live came to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from include.ledger.approvals import Approval
from include.ledger.store import Ledger
from include.steps.record import require_approval
from include.steps.run import ReleaseRun
from include.steps.schema_course import course_of, standing
from include.steps.schema_proof import schema_fact
from include.steps.staging.subject import rehearsal_covers


def release_decided(run: ReleaseRun, ledger: Ledger) -> ReleaseRun:
    """The run as its release is decided about: its fingerprint covers the rehearsal in staging, and the migration
    that the way back depends on.

    Whoever asks and whoever acts binds the run by this: a rehearsal that is repeated or taken back, a second
    migration, or a proof that is lost, are something else than what was shown, and people are asked again. The
    run's own cutover is not, nor is what is rehearsed after its switch. What was neither rehearsed nor changed a
    schema, and what acts by the plan's own authority, is bound by the plan alone.

    :raises LedgerError: the ledger gives no answer
    """
    if run.environment.gate.automatic == run.phase:
        return run
    covers = {**rehearsal_covers(run, ledger), **_schema_covers(run, ledger)}
    return replace(run, covers={name: told for name, told in covers.items() if told})


def _schema_covers(run: ReleaseRun, ledger: Ledger) -> dict[str, str]:
    fact = schema_fact(run, ledger, for_its_go=True)
    if fact.proof == "unchanged":
        return {}
    ours = [one for one in standing(course_of(run, ledger)) if one.release == run.release.version]
    migrated = ours[-1].payload if ours else {}
    return {
        "old version on the schema": fact.proof,
        "rehearsal": fact.rehearsal,
        "revisions": ", ".join(map(str, migrated.get("revisions", ()))),
        "schema": str(migrated.get("fingerprint", "")),
        "backup": str(migrated.get("backup", "")),
    }


def require_release(ledger: Ledger, run: ReleaseRun, now: datetime | None = None) -> Approval:
    """Return the approval of exactly this release, run and schema (:func:`include.steps.record.require_approval`).

    :param now: when something is about to be done that was not begun; None: what was begun is finished
    :raises ApprovalError: with what is missing, or who said No-Go
    """
    return require_approval(ledger, release_decided(run, ledger), now)
