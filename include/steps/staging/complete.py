"""The end of a rehearsal: what it has shown becomes one entry of the ledger and one file."""

from __future__ import annotations

import logging
from typing import Any, Final

from include.clients.kubernetes import Cluster
from include.errors import EvidenceError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.report.folder import Folder
from include.steps.database.entries import note
from include.steps.phase import PHASE_COMPLETED
from include.steps.record import recorded
from include.steps.run import ReleaseRun
from include.steps.staging.assessment import Assessment, assess
from include.steps.staging.bundle import Bundle, bundle
from include.steps.staging.entries import REHEARSAL_COMPLETED
from include.steps.staging.serving import must_serve
from include.steps.staging.subject import subject_of

log = logging.getLogger(__name__)

#: written because of the bundle, or about it: not part of what it proves
_AFTERWARDS: Final = (REHEARSAL_COMPLETED, PHASE_COMPLETED)
_MESSAGES: Final = "message."


async def complete(run: ReleaseRun, ledger: Ledger, cluster: Cluster, reports: Folder) -> dict[str, Any]:
    """Conclude a rehearsal that has passed.

    :param reports: the folder of all reports
    :return: the recorded entry: ``result``, ``fingerprint``, ``findings``, ``links``, ``evidence``
    :raises TrafficError: this run has nothing in staging
    :raises EvidenceError: a part of it was not shown, whatever its task's state says; or users of staging get
        something else by now, so that something else was tested
    :raises ReportError: the evidence cannot be kept
    """
    await must_serve(run, cluster, ledger, what="the rehearsal")
    found = assess(evidence_of(run, ledger))
    if found.lacking:
        raise EvidenceError(
            f"the rehearsal of {run.release.version} is not complete",
            expected="every part of it in the ledger",
            seen="; ".join(found.lacking),
            remedy="clear the tasks that these parts belong to; states set by hand prove nothing",
        )
    return conclude(run, ledger, reports)


def conclude(run: ReleaseRun, ledger: Ledger, reports: Folder) -> dict[str, Any]:
    """Record what the rehearsal has come to, good or bad, with its evidence.

    :raises EvidenceError: a file that was measured is gone or changed
    :raises ReportError: the evidence cannot be kept
    """
    entries = evidence_of(run, ledger)
    found = assess(entries)
    return outcome(run, ledger, found, bundle(run, reports, entries, found))


def must_have_passed(run: ReleaseRun, ledger: Ledger) -> None:
    """Refuse what relies on a rehearsal of which the newest word is not that it has passed.

    :raises EvidenceError: this run has not passed, whatever its tasks' states say
    """
    newest = recorded(ledger, run, REHEARSAL_COMPLETED)
    if newest is not None and newest.payload.get("result") == "passed":
        return
    raise EvidenceError(
        f"the rehearsal of {run.release.version} has not passed",
        expected=f"a ledger entry {REHEARSAL_COMPLETED} of run {run.run_id} with result passed",
        seen=f"result {newest.payload.get('result')}" if newest else "none",
        remedy="clear the task that has failed or was skipped, with what comes after it; states set by hand prove "
        "nothing",
    )


def outcome(run: ReleaseRun, ledger: Ledger, found: Assessment, kept: Bundle | None) -> dict[str, Any]:
    """Record what a rehearsal has come to.

    :param kept: its file of evidence; None where none could be kept
    :raises LedgerError: it is not recorded
    """
    payload = {
        "result": found.result,
        "fingerprint": kept.fingerprint if kept else None,
        "findings": [dict(one) for one in found.findings],
        "subject": subject_of(run, ledger),
        "links": links(run, kept),
        "evidence": {
            **found.evidence,
            "lacking": list(found.lacking),
            "bundle": kept.file.facts() if kept else None,
        },
    }
    entry = note(ledger, run, REHEARSAL_COMPLETED, payload)
    log.info("rehearsal of %s: %s, evidence %s", run.release.version, found.result, kept.file.url if kept else "-")
    return dict(entry.payload)


def evidence_of(run: ReleaseRun, ledger: Ledger) -> tuple[Entry, ...]:
    """The run's entries, without what was said because of them."""
    entries = ledger.entries(release=run.release.version, environment=run.environment.name, run_id=run.run_id)
    return tuple(
        entry for entry in entries if entry.kind not in _AFTERWARDS and not entry.kind.startswith(_MESSAGES)
    )


def links(run: ReleaseRun, kept: Bundle | None) -> list[dict[str, str]]:
    """Where readers find more."""
    found = [{"title": f"{run.environment.name}", "url": run.environment.traffic.public_url}]
    if kept is None:
        return found
    found += [{"title": "load test", "url": plot.url} for plot in kept.plots]
    return [*found, {"title": "evidence", "url": kept.file.url}]
