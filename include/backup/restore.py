"""Brings a backup back: into a new database first, compared, then in the place of the damaged one, which is kept.

Every step looks at the server first, so that a restore that was killed goes on where it was when it is called
again with the same statement. Until the new database is proven equal to the backup, the old one is not touched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from include.backup import exchange
from include.backup.archive import missing
from include.backup.copies import Workshop, adorn, count_now, drop, make_copy
from include.backup.described import BackupContents, read_contents_of
from include.backup.dump import find_backup
from include.backup.loss import RestoreLoss, must_be_confirmed, must_cover, state_loss
from include.backup.manifest import Manifest
from include.backup.preflight import must_allow_copy, objections, observe_powers, observe_target
from include.backup.reading import read_back
from include.backup.swap import Names, Seen, Step, names, next_step
from include.database.confirmation import LossConfirmation
from include.database.connection import Database
from include.database.facts import DatabaseIdentity, server_facts
from include.database.marks import mark
from include.database.session import Session, session, try_lock
from include.errors import (
    ArchiveForeign,
    BackupDiffers,
    DatabaseError,
    RestoreBusy,
    RestoreRefused,
    RestoreUnconfirmed,
)

log = logging.getLogger(__name__)

APPLICATION: Final = "stellwerk restore"
DRAIN_SECONDS: Final = 30.0
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 5.0
# What was counted in time once shall not end a restore for being counted a little more slowly.
_PATIENCE: Final = 3


@dataclass(frozen=True)
class Restored:
    """What a restore has done.

    :param kept: what the damaged database is called now; empty when there was none
    :param lost: what was lost when the names were exchanged; where an earlier attempt did that, what was confirmed
    """

    database: DatabaseIdentity
    backup: str
    kept: str
    by: str
    lost: RestoreLoss


def what_would_be_lost(
    database: Database,
    workshop: Workshop,
    backup: str,
    *,
    made_at: datetime,
    accept_source: DatabaseIdentity | None = None,
) -> RestoreLoss:
    """State what is lost when the backup replaces the database. Nothing is touched.

    :param accept_source: the backup is of this other database, and that is intended
    :raises BackupMissing, ArchiveUnusable: there is no such backup, or it is damaged
    :raises ArchiveForeign: it is of another database than `database`, and not of `accept_source`
    :raises DatabaseUnreachable, DatabaseRefused: the server does not answer, or lets nobody ask
    """
    manifest = find_backup(workshop.store, backup)
    with session(database.named(workshop.maintenance), application=APPLICATION) as administration:
        here = server_facts(administration).identity.model_copy(update={"name": database.name})
        exists = observe_target(administration, database.name).exists
    _must_be_of(manifest, here, accept_source)
    rows = _rows_now(database, workshop) if exists else None
    return state_loss(manifest, here, rows, target_missing=not exists, made_at=made_at)


def _rows_now(database: Database, workshop: Workshop) -> dict[str, int | None] | None:
    """Every table's rows; None where they cannot be read, which a connection that broke once does not mean.

    One that breaks each time does: the reading itself may be what brings the server down, and a restore is then
    needed most.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with session(database, application=APPLICATION) as inside:
                return count_now(inside, count_seconds=workshop.count_seconds)
        except DatabaseError as error:
            log.warning("the rows of %s cannot be counted: %s", database.shown, error)
            if not error.retryable or not tries_left:
                return None
        time.sleep(_PAUSE_SECONDS)
    return None


def what_stands_in_the_way(database: Database, workshop: Workshop, manifest: Manifest) -> tuple[str, ...]:
    """Why this backup could not replace the database, a sentence for each reason. Nothing is touched.

    :raises ArchiveForeign: it is of another database
    :raises ArchiveUnusable: it is damaged
    :raises DatabaseUnreachable, DatabaseRefused: the server does not answer, or lets nobody ask
    """
    contents = read_contents_of(workshop.store, manifest)
    with session(database.named(workshop.maintenance), application=APPLICATION) as administration:
        here = server_facts(administration).identity.model_copy(update={"name": database.name})
        _must_be_of(manifest, here, None)
        target = observe_target(administration, database.name)
        return objections(observe_powers(administration), manifest, contents, workshop.clients, target)


def _must_be_of(manifest: Manifest, here: DatabaseIdentity, accept_source: DatabaseIdentity | None) -> None:
    if manifest.database not in (here, accept_source):
        raise ArchiveForeign(
            f"backup {manifest.id} is of another database",
            expected=here.shown,
            seen=manifest.database.shown,
            remedy="use a backup of this database, or say by name that the other one is meant",
        )


def restore(
    database: Database,
    workshop: Workshop,
    statement: RestoreLoss,
    confirmation: LossConfirmation | None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    drain_seconds: float = DRAIN_SECONDS,
) -> Restored:
    """Bring the backup of the statement back, or go on with it where an earlier attempt was killed.

    The rows are counted again before anything is copied, and once more when nobody can write to the damaged
    database any more: no more is lost than a human has confirmed, whoever has written meanwhile.

    :param statement: made by :func:`what_would_be_lost`
    :param confirmation: a human's, of that statement
    :param drain_seconds: how long sessions may take to end after they were told to
    :raises RestoreUnconfirmed: nobody has confirmed this statement, or more would be lost by now
    :raises BackupMissing, ArchiveUnusable, ArchiveForeign, BackupDiffers, RestoreRefused: it cannot succeed;
        nothing was touched
    :raises RestoreBusy: another process is restoring this database
    :raises DatabaseBusy: sessions did not end; the database is open again
    """
    call = _Restore(database, workshop, statement, names(statement), drain_seconds, now)
    with session(database.named(workshop.maintenance), application=APPLICATION) as administration:
        here = server_facts(administration).identity.model_copy(update={"name": database.name})
        if here != statement.database:
            raise RestoreRefused(
                "the statement is about another database", expected=here.shown, seen=statement.database.shown
            )
        if not try_lock(administration, f"restore {database.name}"):
            raise RestoreBusy(f"another process is restoring {database.shown}", remedy="wait for it")
        # Once the names are exchanged nothing more can be lost, and users must get in however late it is.
        if call.next(administration) not in (Step.OPEN, Step.DONE):
            call.must_be_confirmed(administration, confirmation)
        while (step := call.next(administration)) is not Step.DONE:
            log.info("restore of %s from backup %s: %s", database.name, statement.backup, step.value)
            call.do(step, administration)
    kept = "" if statement.target_missing else call.names.kept
    return Restored(here, statement.backup, kept, confirmation.by if confirmation else "", call.lost)


@dataclass
class _Restore:
    """One call of :func:`restore`."""

    database: Database
    workshop: Workshop
    statement: RestoreLoss
    names: Names
    drain_seconds: float
    now: Callable[[], datetime]
    manifest: Manifest = field(init=False)
    contents: BackupContents = field(init=False)
    lost: RestoreLoss = field(init=False)

    def __post_init__(self) -> None:
        self.lost = self.statement
        self.manifest = find_backup(self.workshop.store, self.statement.backup)
        if self.manifest.sha256 != self.statement.backup_sha256:
            raise RestoreRefused(
                f"backup {self.manifest.id} is not the one whose loss was stated",
                expected=self.statement.backup_sha256,
                seen=self.manifest.sha256,
                remedy="state the loss again",
            )
        self.contents = read_contents_of(self.workshop.store, self.manifest)

    def next(self, administration: Session) -> Step:
        seen = Seen(*(exchange.standing(administration, name) for name in self._all))
        return next_step(seen, self.names.mark, target_missing=self.statement.target_missing)

    def must_be_confirmed(self, administration: Session, confirmation: LossConfirmation | None) -> None:
        now = None if self._has_begun(administration) else self.now()
        try:
            must_be_confirmed(self.statement, confirmation, now=now)
        except RestoreUnconfirmed:
            exchange.reopen(administration, self.names)  # a killed attempt may have closed it
            raise

    def _has_begun(self, administration: Session) -> bool:
        """Whether an earlier attempt has left its mark: what takes longer than an hour must survive a kill."""
        seen = (exchange.standing(administration, name) for name in (self.names.target, self.names.new))
        return any(one is not None and one.state and one.mark == self.names.mark for one in seen)

    def do(self, step: Step, administration: Session) -> None:
        match step:
            case Step.DISCARD:
                drop(administration, self.names.new)
            case Step.RESTORE:
                self._restore(administration)
            case Step.SWAP:
                self._swap(administration)
            case Step.OPEN:
                exchange.allow(administration, self.names.target, connections=True)
            case Step.DONE:
                pass

    @property
    def _all(self) -> tuple[str, str, str]:
        return self.names.target, self.names.new, self.names.kept

    def _restore(self, administration: Session) -> None:
        listed = read_back(self.workshop.store, self.manifest, self.workshop.clients)
        if absent := missing(self.contents.inventory, listed):
            raise BackupDiffers(f"backup {self.manifest.id} is not complete", seen="; ".join(absent))
        target = observe_target(administration, self.names.target)
        must_allow_copy(administration, self.manifest, self.contents, self.workshop.clients, target)
        if self.statement.readable:
            with self._inside(administration) as inside:
                self._look(inside)
        try:
            self._copy(administration)
        except Exception:
            drop(administration, self.names.new)
            raise
        mark(administration, self.names.new, "verified", self.names.mark)

    def _copy(self, administration: Session) -> None:
        new = self.database.named(self.names.new)
        copied = make_copy(administration, new, self.workshop, self.manifest, self.contents, mark=self.names.mark)
        if copied.comparison.verdict == "DIFFERENT":
            raise BackupDiffers(
                f"backup {self.manifest.id} was restored, and is not what the database had",
                seen="; ".join(copied.comparison.sentences),
                remedy=f"{self.names.target} was not touched; use another backup",
            )
        if copied.comparison.uncounted:
            raise BackupDiffers(
                f"backup {self.manifest.id} was restored, and whether it is what the database had is not known",
                seen="; ".join(copied.comparison.sentences),
                remedy=f"{self.names.target} was not touched; give counting more time (backup.count_seconds)",
            )
        for sentence in copied.comparison.sentences:  # what the backup does not know: the statement has said so
            log.warning("%s", sentence)
        adorn(administration, self.names.new, self.contents)

    def _swap(self, administration: Session) -> None:
        target = observe_target(administration, self.names.target)
        must_allow_copy(administration, self.manifest, self.contents, self.workshop.clients, target)
        if self.statement.readable:
            with self._inside(administration) as inside:
                look = exchange.LastLook(inside, self._look)
                self._put_in_place(administration, look)
            return
        self.lost = self.statement.model_copy(update={"made_at": self.now()})
        if target.exists:
            self._put_in_place(administration, None)
        else:
            exchange.exchange(administration, self.names, keep=False)

    def _put_in_place(self, administration: Session, look: exchange.LastLook | None) -> None:
        exchange.put_in_place(administration, self.names, drain_seconds=self.drain_seconds, last_look=look)

    @contextmanager
    def _inside(self, administration: Session) -> Iterator[Session]:
        """A session with the damaged database."""
        exchange.reopen(administration, self.names)  # a killed attempt may have closed it
        with session(self.database, application=APPLICATION) as inside:
            yield inside

    def _look(self, inside: Session) -> None:
        """Refuse to lose more than was confirmed."""
        rows = count_now(inside, count_seconds=_PATIENCE * self.workshop.count_seconds)
        here = self.statement.database
        self.lost = state_loss(self.manifest, here, rows, target_missing=False, made_at=self.now())
        must_cover(self.statement, self.lost)
