"""Which backups are kept and which go. Pure: what there is and what time it is are handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from include.database.facts import DatabaseIdentity

Proof = Literal["VERIFIED", "DAMAGED", "UNKNOWN"]


@dataclass(frozen=True)
class Retention:
    """How long backups are kept.

    :param newest: so many verified backups of each database are kept however old they are; at least one is
    :param days: everything younger is kept
    :param unfinished_hours: what an attempt left that never became a backup goes after this time
    """

    newest: int = 7
    days: float = 30
    unfinished_hours: float = 48


@dataclass(frozen=True)
class Stored:
    """A folder where backups are kept.

    :param folder: its name
    :param database: it is a backup of; None when it is none: no manifest, or one that cannot be read
    :param at: of its snapshot, or when something was last written there; None when not known
    :param proof: what verification found; ``UNKNOWN`` when nobody looked
    :param pinned: somebody still needs it, for example a release that has not ended
    :param ours: it was begun by a backup of the environment that asks
    """

    folder: str
    database: DatabaseIdentity | None
    at: datetime | None
    proof: Proof = "UNKNOWN"
    pinned: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Fate:
    """What happens to a folder, and why.

    :param reason: for humans
    """

    folder: str
    kept: bool
    reason: str


def decide(stored: Sequence[Stored], policy: Retention, *, now: datetime) -> tuple[Fate, ...]:
    """What happens to each folder, in the given order.

    What is not ours stays and counts for nothing: others may keep things in the same place.
    The newest verified backup of a database is never deleted, nor is anything newer than it; where none is
    verified, nothing of that database is: what is kept might be the only one that can be restored.
    """
    best = _best_first(stored)
    return tuple(Fate(one.folder, *_fate(one, best, policy, now)) for one in stored)


def _best_first(stored: Sequence[Stored]) -> dict[DatabaseIdentity, tuple[Stored, ...]]:
    """Database → its verified backups, the newest first."""
    best: dict[DatabaseIdentity, tuple[Stored, ...]] = {}
    verified = [(one.at, one.folder, one) for one in stored if one.ours and one.proof == "VERIFIED" and one.at]
    for _, _, one in sorted(verified, key=lambda found: found[:2], reverse=True):
        if one.database is not None:
            best[one.database] = (*best.get(one.database, ()), one)
    return best


def _fate(
    one: Stored, best: dict[DatabaseIdentity, tuple[Stored, ...]], policy: Retention, now: datetime
) -> tuple[bool, str]:
    if not one.ours:
        return True, "not begun by a backup of this environment"
    if one.pinned:
        return True, "still needed"
    if one.at is None:
        return True, "nobody knows how old it is: somebody has to look"
    if one.database is None:
        young = now - one.at < timedelta(hours=policy.unfinished_hours)
        return young, f"no backup, {'younger' if young else 'older'} than {policy.unfinished_hours:g} hours"
    if now - one.at < timedelta(days=policy.days):
        return True, f"younger than {policy.days:g} days"
    verified = best.get(one.database, ())
    if not verified:
        return True, "no backup of this database is verified"
    if one in verified[: max(1, policy.newest)]:
        return True, f"one of the {max(1, policy.newest)} newest verified"
    newest = verified[0].at
    assert newest is not None
    if one.at > newest:
        return True, "newer than the newest verified"
    return False, f"older than {policy.days:g} days"
