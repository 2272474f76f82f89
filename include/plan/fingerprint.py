"""What exactly was approved, in one digest: when any of it changes, the approval is void."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from include.errors import InvalidPlan
from include.plan.models import ImageRef, SloRules

# Left behind by editors and version control; helm does not read them either.
_NOT_CHART: Final = frozenset({".git", ".DS_Store", "__pycache__"})


@dataclass(frozen=True)
class FingerprintInputs:
    """Everything a Go is given for.

    :param image_digest: what the image name resolves to, where known; a moved tag then voids the approval
    :param chart_digest: as :func:`chart_digest` gives it
    :param values: merged Helm values of the slot
    :param covers: what else is approved, by name: for a migration its survey, its backup, its rehearsal
    :param settings: what else of the environment says how the release is done and judged, by name
    :param accounts: person who decides → their account, where it is not their name
    """

    image: ImageRef
    image_digest: str | None
    chart_digest: str
    values: Mapping[str, Any]
    slo: SloRules
    watch_seconds: float
    roles: Mapping[str, tuple[str, ...]]
    stellwerk_version: str
    covers: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(inputs: FingerprintInputs) -> str:
    """SHA-256 (hexadecimal) over the inputs as canonical JSON.

    :raises TypeError: a value that JSON cannot hold
    """
    text = json.dumps(
        content_of(inputs), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def content_of(inputs: FingerprintInputs) -> dict[str, Any]:
    """What the fingerprint is taken over, by name."""
    content = {
        **{name: value for name, value in asdict(inputs).items() if name not in ("image", "slo", "roles")},
        "image": inputs.image.model_dump(mode="json"),
        "slo": inputs.slo.model_dump(mode="json"),
        # Whoever is listed decides; in which order they are listed does not matter.
        "roles": {role: sorted(users) for role, users in inputs.roles.items()},
    }
    for name in ("covers", "accounts", "settings"):
        if not content[name]:
            del content[name]
    return content


def chart_digest(folder: Path) -> str:
    """SHA-256 (hexadecimal) over names and contents of a chart's files, wherever the chart lies.

    :raises InvalidPlan: no chart there, or one that reaches outside its folder
    """
    if not (folder / "Chart.yaml").is_file():
        raise InvalidPlan(f"{folder} is not a Helm chart", expected="a Chart.yaml", remedy="correct `chart`")
    digest = hashlib.sha256()
    for name, path in sorted((file.relative_to(folder).as_posix(), file) for file in _files(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{len(name.encode())} {name} {content}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if _NOT_CHART.intersection(path.relative_to(folder).parts):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidPlan(
                f"{path} points outside of the chart",
                expected="a chart that holds everything it needs",
                seen=str(path.resolve()),
                remedy="copy what it needs into the chart",
            )
        if path.is_file():
            yield path
