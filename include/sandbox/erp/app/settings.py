"""What one process of the ERP is told: by its image (version, schema, faults) and by its pod (everything else)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .faults import Faults

RELEASE_FILE = Path(__file__).resolve().parent.parent / "release.json"


@dataclass(frozen=True)
class Release:
    """What the image was built as: the oldest schema revision it works on and the features it has."""

    revision: int = 0
    features: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: Path = RELEASE_FILE) -> Release:
        """Read ``release.json`` of the image."""
        document = json.loads(path.read_text())
        return cls(revision=int(document["revision"]), features=frozenset(document["features"]))


@dataclass(frozen=True)
class Settings:
    """The settings of one process."""

    database_url: str = field(repr=False)  # holds a password
    version: str
    slot: str = "none"
    pod: str = "local"
    address: str = "0.0.0.0"
    port: int = 8080
    drain_seconds: float = 3.0
    drain_limit_seconds: float = 20.0
    faults: Faults = field(default_factory=Faults)
    release: Release = field(default_factory=Release)

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ, *, release: Release | None = None) -> Settings:
        """Read the environment.

        :raises ValueError: something is missing or malformed; the message names the variable
        """
        missing = [name for name in ("DATABASE_URL", "APP_VERSION") if not env.get(name)]
        if missing:
            raise ValueError(f"environment variables missing: {', '.join(missing)}")
        return cls(
            database_url=env["DATABASE_URL"],
            version=env["APP_VERSION"],
            slot=env.get("SLOT") or cls.slot,
            pod=env.get("POD_NAME") or cls.pod,
            address=env.get("BIND_ADDRESS") or cls.address,
            port=int(env.get("PORT") or cls.port),
            drain_seconds=float(env.get("DRAIN_SECONDS") or cls.drain_seconds),
            drain_limit_seconds=float(env.get("DRAIN_LIMIT_SECONDS") or cls.drain_limit_seconds),
            faults=Faults.parse(env.get("FAULTS", "")),
            release=release or Release.load(),
        )


def version_key(version: str) -> tuple[int, ...]:
    """Order versions: ``3.0.0`` → ``(3, 0, 0)``; what follows the numbers does not count."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def revision_number(revision: str) -> int:
    """Order revisions of this tree: they begin with a number, ``0003_delivery_date`` → 3."""
    found = re.match(r"\d+", revision)
    return int(found.group()) if found else 0
