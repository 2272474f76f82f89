"""Which helm it is, and how its options are spelled there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from include.errors import HelmUnusable

OLDEST_3: Final = 12


@dataclass(frozen=True)
class HelmVersion:
    """The version of a helm binary; ``text`` is what it calls itself."""

    major: int
    minor: int
    text: str

    def upgrade_options(self, *, wait: bool, rollback_on_failure: bool) -> list[str]:
        """Options of ``helm upgrade``. Undoing a failed upgrade implies waiting in both versions."""
        options = ["--wait"] if wait else []
        if rollback_on_failure:
            options.append("--rollback-on-failure" if self.major >= 4 else "--atomic")
        return options


@dataclass(frozen=True)
class Capabilities:
    """What a chart may ask about the cluster it is rendered for.

    :param kube_version: for example ``v1.34.4``
    :param api_versions: ``group/version`` and ``group/version/Kind`` of all it serves
    """

    kube_version: str
    api_versions: tuple[str, ...]


def parse_version(output: str) -> HelmVersion:
    """The version from the output of ``helm version --short``.

    :raises HelmUnusable: not a helm that Stellwerk knows
    """
    found = re.search(r"\bv(\d+)\.(\d+)\S*", output)
    if found is None:
        raise HelmUnusable(
            "the helm binary does not tell its version",
            expected="helm 3 or 4",
            seen=repr(output[:80]),
            remedy="install helm 4 (or 3.12 and later)",
        )
    version = HelmVersion(int(found[1]), int(found[2]), found[0])
    if version.major not in (3, 4) or (version.major == 3 and version.minor < OLDEST_3):
        raise HelmUnusable(
            f"helm {version.text} is not supported",
            expected=f"helm 4, or 3.{OLDEST_3} and later",
            seen=version.text,
            remedy="install a supported helm and name it in STELLWERK_HELM",
        )
    return version
