"""What an end that was none means: which error it is, and whether trying again can help. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from include.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnreachable,
    MigrationBlocked,
    MigrationError,
    MigrationFailed,
    MigrationInterrupted,
    MigrationRefused,
    WrongDatabase,
)
from include.migration.job import Limits
from include.migration.sqltext import without_strings

# PostgreSQL manual, appendix "Error Codes".
_LOCKS: Final = ("55P03", "40P01", "40001")  # lock not available, deadlock, serialization failure
_CANCELED: Final = "57014"
_SERVER: Final = ("57P", "08", "53")  # shutdown or terminated, connection, resources

_OF_DATABASE: Final[tuple[tuple[type[DatabaseError], type[MigrationError]], ...]] = (
    (DatabaseUnreachable, MigrationInterrupted),
    (DatabaseBusy, MigrationBlocked),
    (DatabaseRefused, MigrationRefused),
    (DatabaseError, MigrationFailed),
)

Event = Mapping[str, Any]


def may_be_tried_again(event: Event) -> bool:
    """Whether another attempt right away can help: locks were not to be had, or somebody was faster."""
    return event.get("sqlstate") in _LOCKS or event.get("kind") == "moved"


def failure(event: Event, at: Event, limits: Limits, declared: str) -> MigrationError:
    """The error for an end that was none.

    :param at: the revision at which it happened, with its file; empty when none had begun
    :param declared: where the database stands
    """
    seen = _seen(event, at.get("file", ""))
    where = f"at revision {at['revision']}" if at else "before its first revision"
    code = str(event.get("sqlstate") or "")
    if event["event"] == "died":
        return MigrationInterrupted(
            f"the migration's process ended {where}",
            seen=seen or "it was killed",
            remedy="clear the task: it goes on from there",
            state=declared,
        )
    if event["kind"] == "elsewhere":
        return WrongDatabase(
            "the application's env.py connects to another database than the one that was meant",
            expected="the URL that it is given (sqlalchemy.url, attributes['url'], -x url=…)",
            seen=seen,
            remedy="let env.py take that URL; nothing was executed there",
            state=declared,
        )
    if event["kind"] == "tree":
        return MigrationFailed(
            f"the tree is not usable {where}",
            seen=seen,
            remedy="bring the tree that was approved, or begin again with the preflight",
            state=declared,
        )
    if code == _CANCELED:
        return MigrationFailed(
            f"a statement was cancelled {where}",
            expected=f"an end within {limits.statement:g} s (statement_timeout)",
            seen=seen,
            remedy="make it shorter, or give it more time; somebody may also have cancelled it",
            state=declared,
        )
    if event["kind"] == "connection" or code.startswith(_SERVER):
        return MigrationInterrupted(
            f"the migration lost its connection {where}", seen=seen, remedy="clear the task", state=declared
        )
    return MigrationFailed(
        f"the migration failed {where}",
        seen=seen,
        remedy="mend the revision; where the database stands is said here",
        state=declared,
    )


def of_database(error: DatabaseError, declared: str) -> MigrationError:
    """The error for a database that does not let the migration be watched, or gives no answer.

    :param declared: where the database stands
    """
    kind = next(ours for theirs, ours in _OF_DATABASE if isinstance(error, theirs))
    return kind(error.what, expected=error.expected, seen=error.seen, remedy=error.remedy, state=declared)


def _seen(event: Event, file: str) -> str:
    parts = [str(event.get("message") or "").strip()]
    if event.get("statement"):
        parts.append(f"in {without_strings(str(event['statement']))[:300]}")
    places = [tuple(place) for place in event.get("places") or () if not place[0].startswith("<")]
    own = [place for place in places if place[0] == file] or places
    if own:
        parts.append(f"from {own[-1][0]}:{own[-1][1]}")
    return " ".join(filter(None, parts))[:3000]
