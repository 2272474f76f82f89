"""The files that a rehearsal leaves: kept in object storage, known to the ledger by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from include.errors import EvidenceError, ReportError
from include.report.folder import Folder, plain
from include.steps.run import ReleaseRun

ROOT: Final = "rehearsals"


@dataclass(frozen=True)
class Artefact:
    """A file.

    :param name: below the run's folder, with ``/``
    :param url: where it can be read
    :param sha256: of its content, hex
    """

    name: str
    url: str
    sha256: str
    size: int

    def facts(self) -> dict[str, Any]:
        """As plain JSON, for the ledger."""
        return {"name": self.name, "url": self.url, "sha256": self.sha256, "bytes": self.size}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Artefact:
        """Read what :meth:`facts` gave."""
        return cls(str(facts["name"]), str(facts["url"]), str(facts["sha256"]), int(facts["bytes"]))


def folder_of(run: ReleaseRun, reports: Folder) -> Folder:
    """Where a run's files are kept.

    :param reports: the folder of all reports
    """
    return reports / ROOT / plain(f"{run.release.version}-{run.environment.name}") / plain(run.run_id)


def keep(folder: Folder, name: str, content: bytes) -> Artefact:
    """Write a file, or find that it is there.

    :raises ReportError: it cannot be written
    """
    file = folder / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{name} cannot be kept",
            expected=f"a writable folder {folder}",
            seen=f"{type(error).__name__}: {error}",
            remedy="make it writable (Airflow variable stellwerk_reports), then clear this task",
        ) from error
    return Artefact(name, file.as_uri(), hashlib.sha256(content).hexdigest(), len(content))


def again(folder: Folder, artefacts: Iterable[Artefact]) -> dict[str, bytes]:
    """Read files back, as they were kept.

    :raises EvidenceError: one is gone, or is another one than the ledger knows
    """
    found = {}
    for one in artefacts:
        try:
            content = (folder / one.name).read_bytes()
        except (OSError, ValueError) as error:
            raise _lost(one, f"{type(error).__name__}: {error}") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != one.sha256:
            raise _lost(one, f"SHA-256 {digest}")
        found[one.name] = content
    return found


def _lost(one: Artefact, seen: str) -> EvidenceError:
    return EvidenceError(
        f"{one.name} is not what was measured",
        expected=f"SHA-256 {one.sha256} at {one.url}",
        seen=seen,
        remedy="clear the task that made it: it measures again",
    )
