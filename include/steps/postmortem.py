"""Reports at the end of a run, written where people find them: the post-mortem's draft, the release's report."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from include.errors import LedgerError
from include.ledger.entry import Entry, canonical
from include.ledger.store import Ledger
from include.report.folder import Folder, plain, write_report
from include.report.names import DRAFTED, OWN, REPORTED
from include.report.postmortem.document import documents
from include.report.postmortem.draft import post_mortem
from include.report.release import document
from include.report.release.draft import release_report
from include.steps.record import record
from include.steps.run import ReleaseRun

__all__ = ["DRAFTED", "REPORTED", "write_postmortem", "write_release_report"]

log = logging.getLogger(__name__)

_KEY_DIGITS: Final = 16


@dataclass(frozen=True)
class _Report:
    """What is to be written.

    :param kind: of the ledger entry
    :param stem: of the files' names
    :param facts: for the ledger entry
    :param make: stem → file name → content
    """

    kind: str
    stem: str
    facts: Mapping[str, Any]
    make: Callable[[str], Mapping[str, str]]


def write_postmortem(run: ReleaseRun, ledger: Ledger, folder: Folder, now: datetime) -> dict[str, Any]:
    """Write the draft of the rollback that ``run`` is about: ``postmortem-<run that cut over>.{md,html,svg}``.

    A later call writes the draft again with what the ledger knows by then, beside it once a human has changed it.

    :param folder: for all reports; the files lie below ``<release>/<environment>``
    :param now: decides which messages are missed
    :return: the recorded entry: ``about`` (run that cut over), ``outcome``, ``questions`` (how many), ``files``
        (``name``, ``url``, ``sha256`` each)
    :raises LedgerError: it cannot be read or written, or knows of no rollback (this one was refused, say)
    :raises ReportError: the folder cannot be written
    """
    entries, timezone = _entries(run, ledger), run.release.timezone
    found = post_mortem(entries, now=now, timezone=timezone, run_id=_known(entries, run.run_id))
    if found.how == "unknown":
        raise LedgerError(
            f"{run.release.version} was not rolled back: there is nothing to draft",
            expected=f"a switch back in {run.environment.name}, or one that was due and blocked",
            seen=f"neither in run {found.run_id} nor in those about it",
        )
    report = _Report(
        DRAFTED,
        f"postmortem-{plain(found.run_id)}",
        {"about": found.run_id, "outcome": found.outcome, "questions": len(found.questions)},
        lambda stem: documents(found, stem=stem, timezone=timezone),
    )
    return _keep(run, ledger, folder, report, now)


def write_release_report(run: ReleaseRun, ledger: Ledger, folder: Folder, now: datetime) -> dict[str, Any]:
    """Write the release's report, however it ended: ``report-<run>.{md,html}`` and pictures, as
    :func:`write_postmortem` does. It covers every environment and run of the release.

    :return: the recorded entry: ``outcome``, ``head`` (the ledger's, that it was made from), ``deviations`` (how
        many), ``files``
    :raises LedgerError: it cannot be read or written, or knows nothing of the release
    :raises ReportError: the folder cannot be written
    """
    found = release_report(ledger.entries(release=run.release.version))
    facts = {"outcome": found.outcome, "head": found.head.short, "deviations": len(found.deviations)}
    report = _Report(
        REPORTED, f"report-{plain(run.run_id)}", facts, lambda stem: document.documents(found, stem=stem)
    )
    return _keep(run, ledger, folder, report, now)


def _entries(run: ReleaseRun, ledger: Ledger) -> tuple[Entry, ...]:
    """The release's entries but for those about reports: writing one must not change the next."""
    entries = ledger.entries(release=run.release.version, environment=run.environment.name)
    return tuple(entry for entry in entries if entry.kind not in OWN)


def _known(entries: Iterable[Entry], run_id: str) -> str | None:
    """The run as the ledger knows it; None when it does not: then it is the last that was rolled back.

    A rollback that could record nothing is found by the run it was started for.
    """
    known = {entry.run_id for entry in entries}
    return next((name for name in (run_id, run_id.removeprefix("after__")) if name in known), None)


def _keep(run: ReleaseRun, ledger: Ledger, folder: Folder, report: _Report, now: datetime) -> dict[str, Any]:
    place = folder / plain(run.release.version) / plain(run.environment.name)
    written = write_report(place, report.stem, report.make)
    for file in written:
        log.info("written: %s", file.url)
    payload = {**report.facts, "files": [asdict(file) for file in written]}
    # Each new content is a fact of its own; the same content is the same fact, whoever writes it again.
    digest = hashlib.sha256(canonical(payload["files"]).encode()).hexdigest()[:_KEY_DIGITS]
    entry = record(ledger, run, report.kind, payload, number=digest, at=now)
    return dict(entry.payload)
