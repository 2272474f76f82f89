"""The evidence of a rehearsal in one file: the ledger's entries of its run, what was measured, a manifest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from include.ledger.entry import Entry, canonical, newest_of, stamp
from include.report.folder import Folder
from include.steps.run import ReleaseRun
from include.steps.staging.artefacts import Artefact, again, folder_of, keep
from include.steps.staging.assessment import Assessment
from include.steps.staging.entries import LOAD_MEASURED

MANIFEST: Final = "manifest.json"
_LEDGER: Final = "ledger.json"
_SUMMARY: Final = "summary.json"
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """The file and what stands for all of its content.

    :param fingerprint: SHA-256 of the manifest, which names every file with its own
    """

    fingerprint: str
    file: Artefact
    plots: tuple[Artefact, ...]


def bundle(run: ReleaseRun, reports: Folder, entries: Sequence[Entry], assessment: Assessment) -> Bundle:
    """Collect the evidence of a run and keep it; the same evidence makes the same file, byte for byte.

    :param reports: the folder of all reports
    :param entries: of the run, without what is told of the bundle itself
    :raises EvidenceError: a file that was measured is gone or changed
    :raises ReportError: it cannot be kept
    """
    folder = folder_of(run, reports)
    measured = measured_files(entries)
    contents = {_LEDGER: ledger_text(entries), _SUMMARY: _summary(run, assessment), **again(folder, measured)}
    manifest = manifest_text(run, contents)
    fingerprint = hashlib.sha256(manifest).hexdigest()
    name = f"evidence-{fingerprint[:12]}.zip"
    kept = keep(folder, name, zipped({MANIFEST: manifest, **contents}))
    return Bundle(fingerprint, kept, tuple(one for one in measured if one.name.endswith(".svg")))


def measured_files(entries: Sequence[Entry]) -> tuple[Artefact, ...]:
    """The files of the newest load test."""
    newest = newest_of(entries, LOAD_MEASURED)
    return tuple(Artefact.of_facts(facts) for facts in newest.payload["artefacts"]) if newest else ()


def ledger_text(entries: Sequence[Entry]) -> bytes:
    """The entries as JSON, each with the hash by which the ledger knows it."""
    told = [
        {
            "sequence": entry.sequence,
            "kind": entry.kind,
            "actor": entry.actor,
            "at": stamp(entry.at),
            "hash": entry.hash,
            "payload": dict(entry.payload),
        }
        for entry in entries
    ]
    return (json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def manifest_text(run: ReleaseRun, contents: Mapping[str, bytes]) -> bytes:
    """What is in the bundle: every file with its SHA-256."""
    files = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(contents.items())
    ]
    about: dict[str, Any] = {
        "release": run.release.version,
        "previous": run.release.previous,
        "environment": run.environment.name,
        "run": run.run_id,
        "files": files,
    }
    return (canonical(about) + "\n").encode()


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """The files as a ZIP archive that depends on nothing but them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _summary(run: ReleaseRun, assessment: Assessment) -> bytes:
    told = {
        "release": run.release.version,
        "result": assessment.result,
        "lacking": list(assessment.lacking),
        "findings": [dict(one) for one in assessment.findings],
        "evidence": dict(assessment.evidence),
    }
    return (json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
