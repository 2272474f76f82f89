"""A rehearsal of which a step has failed: people are called, and what was shown until then is recorded."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from include.errors import EvidenceError, ReportError
from include.ledger.entry import canonical
from include.ledger.store import Ledger
from include.report.folder import Folder
from include.steps.page import Matter
from include.steps.run import ReleaseRun
from include.steps.staging.assessment import Assessment, assess
from include.steps.staging.bundle import bundle
from include.steps.staging.complete import evidence_of, outcome

log = logging.getLogger(__name__)


def failed(run: ReleaseRun, ledger: Ledger, steps: Sequence[str]) -> Assessment:
    """What a rehearsal has shown of which a step has failed; it is no pass, whatever was shown before.

    :param steps: that have failed, by name; empty when nobody can say which
    :raises LedgerError: the ledger cannot be read
    """
    return assess(evidence_of(run, ledger), steps or ("a step",))


def conclude_failed(run: ReleaseRun, ledger: Ledger, reports: Folder | None, found: Assessment) -> dict[str, Any]:
    """Record that the rehearsal has failed, with its evidence as far as that can be kept.

    :param reports: the folder of all reports; None when there is none
    :param found: as :func:`failed` returns it
    :raises LedgerError: it is not recorded
    """
    kept = None
    try:
        kept = bundle(run, reports, evidence_of(run, ledger), found) if reports is not None else None
    except (EvidenceError, ReportError) as error:
        log.warning("recorded without a file of evidence: %s", error)
    return outcome(run, ledger, found, kept)


def failure(run: ReleaseRun, ledger: Ledger, found: Assessment) -> Matter:
    """What people are called for when a rehearsal has failed: once for the same evidence.

    :param found: as :func:`failed` returns it
    :raises LedgerError: the ledger cannot be read
    """
    findings = [f"{one['severity']}: {one['text']}" for one in found.findings]
    shown = canonical({"findings": findings, "entries": len(evidence_of(run, ledger))})
    return Matter(
        f"rehearsal:{hashlib.sha256(shown.encode()).hexdigest()[:12]}",
        f"the rehearsal of {run.release.version} in {run.environment.name} has failed",
        "; ".join(findings),
        f"the log of the failed task of run {run.run_id} says what to do; then clear that task",
    )


def final_failure(run: ReleaseRun, ledger: Ledger, steps: Sequence[str]) -> Matter:
    """What people are called for when the final test of T-0 has failed: once for the same evidence.

    :param steps: that have failed, by name; empty when nobody can say which
    :raises LedgerError: the ledger cannot be read
    """
    seen = ", ".join(steps) or "a step"
    shown = canonical({"steps": seen, "entries": len(evidence_of(run, ledger))})
    return Matter(
        f"final-test:{hashlib.sha256(shown.encode()).hexdigest()[:12]}",
        f"the final test of {run.release.version} in {run.environment.name} has failed",
        f"{seen} has failed",
        f"the log of the failed task of run {run.run_id} says what to do; then clear that task",
    )
