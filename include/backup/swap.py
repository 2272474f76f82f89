"""How far a restore has come, seen from the server alone, and what is to be done next. Pure.

Every database that a restore makes or moves bears its mark in its comment, which everybody on the server can read:
``restoring``, ``verified``, ``restored`` under the old name; the damaged one ``replacing``, then ``replaced``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from include.backup.loss import RestoreLoss
from include.errors import RestoreRefused

_LONGEST: Final = 63  # bytes of a name (NAMEDATALEN - 1)


class Step(Enum):
    """What is to be done next."""

    DISCARD = "drop what a killed attempt has left"
    RESTORE = "create, fill and compare the new database"
    SWAP = "disconnect everybody and exchange the names"
    OPEN = "let users connect again"
    DONE = "nothing"


@dataclass(frozen=True)
class Names:
    """The databases of one restore.

    :param mark: tells this restore from every other
    :param new: where the backup is restored to
    :param kept: what the damaged database is called afterwards
    """

    target: str
    new: str
    kept: str
    mark: str


@dataclass(frozen=True)
class Standing:
    """One database of the server.

    :param state: of our mark on it; empty without one
    :param mark: whose it is
    :param open: whether users may connect
    """

    state: str = ""
    mark: str = ""
    open: bool = True


@dataclass(frozen=True)
class Seen:
    """The databases of a restore as they are; None for one that is not there."""

    target: Standing | None
    new: Standing | None
    kept: Standing | None


def names(statement: RestoreLoss) -> Names:
    """The names of a restore: the same for every attempt at it, and dated by when the loss was stated."""
    mark = statement.digest[:10]
    target = statement.database.name
    return Names(
        target=target,
        new=copy_name(target, mark),
        kept=_fitting(target, f"_damaged_{statement.made_at:%Y%m%d_%H%M}_{mark[:6]}"),
        mark=mark,
    )


def copy_name(target: str, mark: str) -> str:
    """Where a restore puts its backup before it takes the target's place.

    :param mark: of the restore
    """
    return _fitting(target, f"_restore_{mark}")


def _fitting(name: str, ending: str) -> str:
    """Both together, as far as PostgreSQL's names reach; a name that was cut gets a checksum of the whole."""
    room = _LONGEST - len(ending.encode())
    if len(name.encode()) <= room:
        return name + ending
    check = f"~{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return name.encode()[: room - len(check)].decode(errors="ignore") + check + ending


def next_step(seen: Seen, mark: str, *, target_missing: bool) -> Step:
    """What comes next; killed after any step, the same question leads on from there.

    :param target_missing: whether the confirmed statement says that there is nothing to replace
    :raises RestoreRefused: the server is not as the statement says, and nothing explains how it came to be
    """
    target, new = seen.target, seen.new
    if target is not None and (target.state, target.mark) == ("restored", mark):
        return Step.DONE if target.open else Step.OPEN
    if target is None and not target_missing:
        raise _changed("the database to be replaced has gone")
    if target is not None and target_missing:
        raise _changed("a database of that name has appeared")
    if seen.kept is not None:
        raise _changed("the name for the damaged database is taken")
    if new is None:
        return Step.RESTORE
    return Step.SWAP if (new.state, new.mark) == ("verified", mark) else Step.DISCARD


def _changed(seen: str) -> RestoreRefused:
    return RestoreRefused(
        "the server is not as it was when the loss was stated",
        seen=seen,
        remedy="look at the server's databases, then state the loss again",
    )
