"""How to bring an interrupted Helm release to a state from which ``helm upgrade --install`` works again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from include.bluegreen.state import HelmRevision

_FAILURE_WORDS: Final = ("fail", "context canceled", "deadline exceeded", "timed out", "interrupted")


@dataclass(frozen=True)
class RecoveryAction:
    """What to do before the next install: nothing, ``helm uninstall``, or ``helm rollback <revision>``."""

    kind: Literal["none", "uninstall", "rollback"]
    reason: str
    revision: int | None = None


def good_revision(history: Sequence[HelmRevision]) -> int | None:
    """The newest revision that worked: ``deployed``, else ``superseded`` without a failure in its description.

    The description decides because Helm 4 relabels failed revisions ``superseded`` later on. None: there is none.
    """
    newest_first = sorted(history, key=lambda r: r.revision, reverse=True)
    for status in ("deployed", "superseded"):
        for revision in newest_first:
            if revision.status == status and not _tells_of_failure(revision):
                return revision.revision
    return None


def revisions_that_worked(history: Sequence[HelmRevision]) -> tuple[HelmRevision, ...]:
    """What can be brought back, the newest first; of an uninstalled release, too, if its history was kept."""
    newest_first = sorted(history, key=lambda r: r.revision, reverse=True)
    return tuple(
        one
        for one in newest_first
        if one.status in ("deployed", "superseded", "uninstalled") and not _tells_of_failure(one)
    )


def recovery_action(history: Sequence[HelmRevision]) -> RecoveryAction:
    """The way out of what an interrupted helm left behind; ``history`` in any order, empty for no release."""
    if not history:
        return RecoveryAction("none", "there is no release yet")
    newest = max(history, key=lambda r: r.revision)
    state = f"revision {newest.revision} is {newest.status}"
    if newest.status == "pending-install":
        return RecoveryAction("uninstall", f"{state}: nothing was ever installed completely")
    if newest.status in ("uninstalled", "uninstalling"):
        return RecoveryAction("uninstall", f"{state}: an upgrade would find no deployed release")
    if newest.status in ("pending-upgrade", "pending-rollback"):
        good = good_revision(history)
        if good is None:
            return RecoveryAction("uninstall", f"{state} and no earlier revision worked")
        return RecoveryAction("rollback", f"{state}: back to revision {good}, the newest that worked", good)
    return RecoveryAction("none", state)


def _tells_of_failure(revision: HelmRevision) -> bool:
    text = revision.description.lower()
    return any(word in text for word in _FAILURE_WORDS)
