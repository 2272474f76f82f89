"""What the runner's last word means: which error, and whether trying again can help. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from include.errors import MigrationError, MigrationFailed, MigrationInterrupted, WrongDatabase
from include.migration.job import Limits

# PostgreSQL manual, appendix "Error Codes".
_LOCKS: Final = ("55P03", "40P01", "40001")  # lock not available, deadlock, serialization failure
_CANCELED: Final = "57014"
_SERVER: Final = ("57P", "08", "53")  # shutdown or terminated, connection, resources

Event = Mapping[str, Any]


def may_be_tried_again(event: Event) -> bool:
    """Whether another attempt right away can help: locks were not to be had, or somebody was faster."""
    return event.get("sqlstate") in _LOCKS or event.get("kind") == "moved"


def failure(event: Event, revision: str, limits: Limits, declared: str) -> MigrationError:
    """The error for an end that was none.

    :param revision: at which it happened; "" when none had begun
    :param declared: where the database stands
    """
    seen = _seen(event)
    at = f"at revision {revision}" if revision else "before its first revision"
    code = str(event.get("sqlstate") or "")
    if event["event"] == "died":
        return MigrationInterrupted(
            f"the migration's process ended {at}",
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
    if code == _CANCELED:
        return MigrationFailed(
            f"a statement was cancelled {at}",
            expected=f"an end within {limits.statement:g} s (statement_timeout)",
            seen=seen,
            remedy="make it shorter, or give it more time; somebody may also have cancelled it",
            state=declared,
        )
    if code.startswith(_SERVER):
        return MigrationInterrupted(
            f"the migration lost its connection {at}", seen=seen, remedy="clear the task", state=declared
        )
    return MigrationFailed(
        f"the migration failed {at}",
        seen=seen,
        remedy="mend the revision; where the database stands is said here",
        state=declared,
    )


def _seen(event: Event) -> str:
    parts = [str(event.get("message") or "").strip()]
    places = [place for place in event.get("places") or () if "site-packages" not in place[0]]
    if event.get("statement"):
        parts.append(f"in {' '.join(str(event['statement']).split())[:300]}")
    if places:
        parts.append(f"from {places[-1][0]}:{places[-1][1]}")
    return " ".join(filter(None, parts))[:3000]
