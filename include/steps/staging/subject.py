"""What a rehearsal is about: exactly what was tried, so that production can be held against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from include.gate.checklist import NOT_REHEARSED, names_rehearsal
from include.gate.rehearsal import PASSED, REHEARSED, TAKEN_BACK, Rehearsal, Subject, differences
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.plan.fingerprint import chart_digest
from include.plan.people import ChecklistItem
from include.steps.database.entries import MIGRATION_VERIFIED
from include.steps.images import pinned
from include.steps.record import CUT_OVER, OBSERVED, all_recorded, recorded
from include.steps.run import ReleaseRun
from include.steps.staging.entries import SERVED
from include.steps.staging.serving import deployed_of
from include.version import VERSION

STAGING: Final = "staging"


def subject_of(run: ReleaseRun, ledger: Ledger) -> dict[str, Any]:
    """What a rehearsal has tried, with the revisions that staging's database came to.

    It is what was deployed; the plan may have changed since.

    :raises LedgerError: the ledger cannot be read
    """
    served, migrated = recorded(ledger, run, SERVED), recorded(ledger, run, MIGRATION_VERIFIED)
    contents = tuple(map(str, served.payload["contents"])) if served else ()
    deployed, image = deployed_of(run, ledger), run.release.image
    if deployed is not None:
        tried = Subject(deployed.image, contents, deployed.chart, deployed.stellwerk)
    else:
        tried = Subject(f"{image.repository}:{image.tag}", contents, "", VERSION)
    return {**tried.facts(), "revisions": list(migrated.payload.get("revisions", ())) if migrated else None}


def rehearsal_of(run: ReleaseRun, ledger: Ledger) -> Rehearsal:
    """What staging has shown of the run's release, held against what the run releases.

    :raises LedgerError: the ledger cannot be read
    :raises InvalidPlan: the chart is not there
    """
    return Rehearsal(_told(run, ledger), _released(pinned(run, ledger)))


def rehearsal_for(items: Iterable[ChecklistItem], run: ReleaseRun, ledger: Ledger) -> Rehearsal:
    """The same for points of a checklist: nothing is looked at where none of them is settled by it.

    :raises LedgerError: the ledger cannot be read
    :raises InvalidPlan: the chart is not there
    """
    return rehearsal_of(run, ledger) if names_rehearsal(items) else NOT_REHEARSED


def rehearsal_covers(run: ReleaseRun, ledger: Ledger) -> dict[str, str]:
    """The part of a Go that is the rehearsal: its result and its evidence, by name; empty where there is none.

    Staging itself is not held against its rehearsal.

    :raises LedgerError: the ledger cannot be read
    """
    shown = Rehearsal(_told(run, ledger))
    if run.environment.name == STAGING or shown.newest is None:
        return {}
    told = shown.newest.payload
    result = f"{told.get('result')}, run {shown.newest.run_id}"
    if back := shown.taken_back:
        result = f"{result}, taken back {back.at:%Y-%m-%d %H:%M} UTC"
    return {"staging": result, "staging evidence": str(told.get("fingerprint") or shown.newest.hash)}


def rehearsed(run: ReleaseRun, ledger: Ledger) -> tuple[str, ...]:
    """What those who decide about production need to know of the rehearsal; good news or a warning, in sentences.

    :raises LedgerError: the ledger cannot be read
    """
    if run.environment.name == STAGING:
        return ()
    shown = rehearsal_of(run, ledger)
    if shown.newest is None or shown.released is None:
        return (f"warning: {run.release.version} was not rehearsed in staging, as far as the ledger tells",)
    told = shown.newest.payload
    result, when = told.get("result"), f"{shown.newest.at:%Y-%m-%d %H:%M} UTC"
    findings = [f"{one['severity']}: {one['text']}" for one in told.get("findings", ())]
    fingerprint = str(told.get("fingerprint") or "none")[:16]
    lines = [f"rehearsal in staging {result} at {when}, run {shown.newest.run_id}, evidence {fingerprint}"]
    if result != PASSED:
        lines = [f"warning: {lines[0]}"]
    if back := shown.taken_back:
        lines.append(f"warning: staging was taken back since the rehearsal, {back.at:%Y-%m-%d %H:%M} UTC")
    if findings:
        lines.append(f"found in the rehearsal: {'; '.join(findings)}")
    differs = differences(told.get("subject"), shown.released)
    return (*lines, *(f"warning: {one}" for one in differs.all))


def _told(run: ReleaseRun, ledger: Ledger) -> tuple[Entry, ...]:
    """What the ledger holds of the release in staging; once the run has moved the traffic, as it was then.

    What is tried in staging after that decides no more about going there.
    """
    found = ledger.entries(release=run.release.version, environment=STAGING, kinds=(REHEARSED, *TAKEN_BACK))
    # What was seen of the switch is recorded at once, that it was proven later, perhaps by another attempt.
    moved = all_recorded(ledger, run, OBSERVED, CUT_OVER)
    return tuple(entry for entry in found if not moved or entry.sequence < moved[0].sequence)


def _released(run: ReleaseRun) -> Subject:
    image = run.release.image
    digest = (image.digest,) if image.digest else ()
    return Subject(f"{image.repository}:{image.tag}", digest, chart_digest(run.chart), VERSION)
