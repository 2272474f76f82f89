"""What a stopped try has left outside of a transaction: removed where that is safe, refused where it is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from include.database.schema import Schema
from include.database.session import Session, try_lock, unlock
from include.errors import MigrationBusy, MigrationRefused
from include.migration.activity import end_backends, holder, tag
from include.migration.job import LOCK, Job
from include.migration.observe import STATEMENT_SECONDS, schema_now

log = logging.getLogger(__name__)

_INDEXES = """
SELECT n.nspname, c.relname, format('%%I.%%I', n.nspname, c.relname), i.indisvalid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relkind = 'i' AND c.relname = ANY(%s)
"""


def prepare(opened: Session, job: Job, position: int) -> None:
    """Make sure that the next step finds the schema that it expects, while no other migration runs.

    :raises MigrationBusy: another migration is running
    :raises MigrationRefused: the schema is not the recorded one, and not only by what can be built again
    """
    with _alone(opened):
        _sweep(opened, job, schema_now(opened), position)
        if position == 0:
            _refuse_altered(job, schema_now(opened))


@contextmanager
def at_rest(opened: Session, key: str) -> Iterator[None]:
    """No migration works in the database while in this context; what is left of the named one is ended first.

    :param key: of a migration that is not tried again
    :raises MigrationBusy: its backends do not end, or another migration is running
    """
    end_leftovers(opened, key)
    with _alone(opened):
        yield


def end_leftovers(opened: Session, key: str) -> None:
    """End the backends that an earlier try of a migration has left.

    :raises MigrationBusy: they do not end
    """
    try:
        ended = end_backends(opened, tag(key))
    except TimeoutError as error:
        raise MigrationBusy("an earlier try of this migration does not end", seen=str(error)) from error
    if ended:
        log.warning("an earlier try had left backends %s behind; they are ended", ended)


def busy(opened: Session) -> MigrationBusy:
    """The error that names who has the lock of migrations."""
    found = holder(opened, LOCK)
    return MigrationBusy(
        "another migration is running in this database",
        seen=found.shown if found else "it has ended by now",
        remedy="wait for its end, then clear the task",
    )


@contextmanager
def _alone(opened: Session) -> Iterator[None]:
    if not try_lock(opened, LOCK):
        raise busy(opened)
    try:
        yield
    finally:
        if not opened.closed:
            unlock(opened, LOCK)


def _sweep(opened: Session, job: Job, seen: Schema, position: int) -> None:
    """Drop indexes that a pending step builds and that were not there before: the step builds them again."""
    names = sorted(job.leftovers(position))
    for schema, name, shown, valid in opened.execute(_INDEXES, (names,)).fetchall():
        ours = f"index {shown}" not in job.before.objects if job.before else not valid
        if not ours or f"index {shown}" not in seen.objects:
            continue
        log.warning("index %s is what a stopped try has left: it is dropped and will be built again", shown)
        opened.execute(f"SET statement_timeout = {job.limits.settings['statement_timeout']}")
        opened.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, name)))
        opened.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")


def _refuse_altered(job: Job, seen: Schema) -> None:
    declared = job.declare(job.states[0], seen)
    if declared.kind != "altered":
        return
    raise MigrationRefused(
        "the schema is not the one that was recorded before this migration",
        expected=f"fingerprint {job.before.fingerprint[:16]}" if job.before else "",
        seen=", ".join(declared.differences[:10]),
        remedy="if a stopped, non-transactional revision left this, undo it by hand; else begin again: with the"
        " preflight, or on a way back with its statement",
        state=str(declared),
    )
