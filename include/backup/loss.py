"""What a restore takes away, as a statement that a human confirms. Pure: everything it speaks of is handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from include.backup.manifest import Manifest
from include.database.confirmation import LossConfirmation
from include.database.facts import DatabaseIdentity
from include.errors import RestoreUnconfirmed

VALID: Final = timedelta(hours=1)
"""How long a statement may be old when the restore begins: after that, more may be lost than it says."""
MARGIN: Final = timedelta(minutes=5)
"""What an answer, or another count, leaves of that for the steps until the restore begins."""


class TableLoss(BaseModel):
    """The rows of one table, then and now; None when not known.

    Their difference is what is lost at least: as many may have been added as were deleted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    then: int | None
    now: int | None


class RestoreLoss(BaseModel):
    """What is lost when a backup takes the place of a database.

    :param database: that is replaced
    :param source: the database the backup is of; another one only where that was asked for by name
    :param backup_sha256: of the archive, so that the statement is about this backup and no other of its name
    :param backup_at: everything written after this moment is lost
    :param target_missing: there is no database any more to be replaced
    :param readable: whether the rows of today could be counted
    :param tables: those that differ or are not known, sorted
    :param revisions_then: Alembic's revisions in the backup
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: DatabaseIdentity
    source: DatabaseIdentity
    backup: str
    backup_sha256: str
    backup_at: AwareDatetime
    made_at: AwareDatetime
    target_missing: bool
    readable: bool
    tables: tuple[TableLoss, ...]
    revisions_then: Mapping[str, tuple[str, ...]]

    @property
    def minutes(self) -> float:
        """Minutes of writing that are lost, as of when the statement was made."""
        return round((self.made_at - self.backup_at).total_seconds() / 60, 1)

    @property
    def digest(self) -> str:
        """What a confirmation is bound to: changes with every word of the statement."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def sentences(self) -> tuple[str, ...]:
        """The statement for humans."""
        told = [
            f"{self.database.name} becomes what it was at {self.backup_at:%Y-%m-%d %H:%M:%S} UTC "
            f"(backup {self.backup}): everything written in the {self.minutes:g} minutes since then is lost."
        ]
        if self.source != self.database:
            told.append(f"The backup is of another database: {self.source.shown}.")
        if self.target_missing:
            told.append(f"There is no database {self.database.name} any more; what was in it cannot be kept.")
        elif not self.readable:
            told.append("The database cannot be read: how many rows are lost is not known.")
        else:
            told += [_told(table) for table in self.tables]
            told.append(
                "Rows are counted, not compared: those added while others were deleted are not seen, those "
                "changed are not counted. They are lost as well."
            )
        return tuple(told)


def state_loss(
    manifest: Manifest,
    database: DatabaseIdentity,
    rows: Mapping[str, int | None] | None,
    *,
    target_missing: bool,
    made_at: datetime,
) -> RestoreLoss:
    """What is lost when this backup replaces that database.

    :param rows: table → rows of today; None when the database could not be read
    """
    now = rows or {}
    both = sorted(manifest.rows.keys() | now.keys()) if rows is not None else []
    tables = (TableLoss(table=name, then=manifest.rows.get(name, 0), now=now.get(name, 0)) for name in both)
    return RestoreLoss(
        database=database,
        source=manifest.database,
        backup=manifest.id,
        backup_sha256=manifest.sha256,
        backup_at=manifest.snapshot_at,
        made_at=made_at,
        target_missing=target_missing,
        readable=rows is not None,
        tables=tuple(table for table in tables if table.then is None or table.then != table.now),
        revisions_then=manifest.revisions,
    )


def grown(confirmed: RestoreLoss, now: RestoreLoss) -> tuple[str, ...]:
    """What is lost beyond what a human has confirmed, a sentence each; nothing where that covers it.

    Time alone does not count: it passes between every question and its answer, and :data:`VALID` bounds it.

    :param now: the loss as it is now
    """
    same = ("database", "source", "backup", "backup_sha256", "target_missing", "readable")
    if other := [name for name in same if getattr(confirmed, name) != getattr(now, name)]:
        return (f"another restore than the one that was confirmed: {', '.join(other)}",)
    shown = {table.table: _lost(table) for table in confirmed.tables}
    more = []
    for table in now.tables:
        before, after = shown.get(table.table, 0), _lost(table)
        if before is None or (after is not None and after <= before):
            continue
        count = "an unknown number of" if after is None else f"at least {after}"
        more.append(f"{table.table}: {count} rows are lost, {before} were confirmed")
    return tuple(more)


def must_cover(confirmed: RestoreLoss, now: RestoreLoss) -> None:
    """Refuse to lose more than a human has confirmed.

    :raises RestoreUnconfirmed: with every table of which more would be lost
    """
    if more := grown(confirmed, now):
        raise RestoreUnconfirmed(
            f"{confirmed.database.name} is not replaced: somebody has written to it since the loss was confirmed",
            expected=f"no more to be lost than the statement {confirmed.digest[:12]} says",
            seen="; ".join(more),
            remedy="stop who writes, state the loss again and have it confirmed",
        )


def _lost(table: TableLoss) -> int | None:
    """Rows that are lost; None when that is not known."""
    return None if table.then is None or table.now is None else max(0, table.now - table.then)


def still_answerable(made_at: datetime, *, now: datetime) -> timedelta:
    """How long a yes to a statement still comes in time for the restore; not above zero when it is too late."""
    return VALID - MARGIN - (now - made_at)


def must_be_confirmed(
    statement: RestoreLoss, confirmation: LossConfirmation | None, *, now: datetime | None
) -> None:
    """Refuse unless a human has confirmed this very statement, and it is not too old.

    :param now: when the restore begins; None when it has begun, however long ago
    :raises RestoreUnconfirmed: nobody has, or another statement was confirmed, or it is older than an hour
    """
    if confirmation is None or not confirmation.signed:
        raise _unconfirmed(statement, "nobody has confirmed what would be lost")
    if confirmation.digest != statement.digest:
        raise _unconfirmed(statement, f"{confirmation.by} has confirmed another statement")
    if now is not None and now - statement.made_at > VALID:
        raise _unconfirmed(statement, f"the statement is of {statement.made_at:%Y-%m-%d %H:%M} UTC")


def _unconfirmed(statement: RestoreLoss, seen: str) -> RestoreUnconfirmed:
    return RestoreUnconfirmed(
        f"{statement.database.name} is not replaced by backup {statement.backup}",
        expected=f"a human's confirmation of the statement {statement.digest[:12]}, not older than an hour",
        seen=seen,
        remedy="show what would be lost, and have it confirmed",
    )


def _told(table: TableLoss) -> str:
    if table.then is None or table.now is None:
        return f"{table.table}: how many rows are lost is not known."
    difference = table.now - table.then
    if difference > 0:
        return f"{table.table}: at least {difference} rows are lost ({table.now} now, {table.then} in the backup)."
    return f"{table.table}: at least {-difference} rows come back ({table.now} now, {table.then} in the backup)."
