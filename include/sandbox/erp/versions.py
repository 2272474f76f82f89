"""The versions of the demo ERP: what distinguishes their images, all built from one source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

REPOSITORY = "valeo-erp"
ENTRYPOINT = ("/app/run",)


@dataclass(frozen=True)
class ErpVersion:
    """One version: the schema revisions it brings and needs, its features, the faults built into it.

    :param revision: number of the newest revision of its tree; older versions' trees lack the later files
    :param needs: number of the oldest revision that it works on; None: the one that it brings
    :param faults: content of ``FAULTS``, see ``app/faults.py``
    """

    version: str
    revision: int
    features: tuple[str, ...] = ()
    faults: Mapping[str, object] = field(default_factory=dict)
    needs: int | None = None

    @property
    def needed(self) -> int:
        """Number of the oldest revision that it works on."""
        return self.revision if self.needs is None else self.needs

    @property
    def reference(self) -> str:
        """The image's name and tag."""
        return f"{REPOSITORY}:{self.version}"

    @property
    def env(self) -> dict[str, str]:
        """The environment baked into the image."""
        env = {"APP_VERSION": self.version, "PYTHONUNBUFFERED": "1"}
        return {**env, "FAULTS": json.dumps(self.faults, sort_keys=True)} if self.faults else env


VERSIONS: Mapping[str, ErpVersion] = {
    version.version: version
    for version in (
        ErpVersion("2.9.0", revision=2),
        # Works before and after its own migration, so that the schema and the traffic may move in any order.
        ErpVersion("3.0.0", revision=3, needs=2, features=("delivery_date",)),
        # Passes its smoke tests and fails under real traffic: each process serves 150 requests first.
        ErpVersion(
            "3.0.1",
            revision=3,
            needs=2,
            features=("delivery_date",),
            faults={"error_ratio": {"value": 0.3, "after_requests": 150}},
        ),
    )
}
