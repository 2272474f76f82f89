"""What is told of a migration: that it begins, that it went well, that it failed and what that has left."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.deliver import FAILED, SENT
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCHED,
    NEEDLESS,
    SURVEYED,
)
from include.steps.database.watched import undone_since
from include.steps.record import APPROVED, all_recorded, recorded
from include.steps.run import ReleaseRun
from include.steps.schema_course import (
    MIGRATED,
    MIGRATION_INTENDED,
    UNDONE,
    course_of,
    entries_of_release,
    standing,
)

log = logging.getLogger(__name__)


def _approved(run: ReleaseRun, ledger: Ledger) -> Entry | None:
    """The Go; None, with a line in the log, where nobody has given one, whatever the states of tasks."""
    approved = recorded(ledger, run, APPROVED)
    if approved is None:
        log.info("nothing to tell: the ledger holds no %s of this run, whatever the states of tasks", APPROVED)
    return approved


def _started(run: ReleaseRun, occasion: Occasion, ledger: Ledger, _now: datetime) -> Message | None:
    """That the schema is about to change; None for a run that has nothing to change, or whose change is gone."""
    approved, surveyed = _approved(run, ledger), recorded(ledger, run, SURVEYED)
    if approved is None:
        return None
    if surveyed is None or not surveyed.payload["steps"]:
        log.info("nothing to tell: nothing is pending, says the survey of this run, or there is none")
        return None
    if recorded(ledger, run, MIGRATION_WATCHED):
        log.info("nothing to tell: it has ended by now")
        return None
    if any(entry.sequence > approved.sequence for entry in entries_of_release(run, ledger, *UNDONE)):
        log.info("nothing to tell: the schema was taken back since, or the database restored")
        return None
    return compose.migration_started(occasion, at=approved.at)


def _completed(run: ReleaseRun, occasion: Occasion, ledger: Ledger, _now: datetime) -> Message | None:
    """That this run has seen the schema and the version on it to be well, whichever run has migrated.

    Or that there was nothing to migrate; else None.
    """
    watched = recorded(ledger, run, MIGRATION_WATCHED)
    if watched and recorded(ledger, run, MIGRATION_VERIFIED) and _is_live(run, ledger, watched):
        return compose.migration_completed(occasion, at=watched.at)
    if needless := recorded(ledger, run, NEEDLESS):
        return compose.migration_needless(occasion, at=needless.at)
    log.info("nothing to tell: this run has seen no migration to be well that stands, nor nothing to migrate")
    return None


def _is_live(run: ReleaseRun, ledger: Ledger, watched: Entry) -> bool:
    """Whether the migration that was watched is the last thing that has happened to the schema."""
    left = standing(course_of(run, ledger))
    return bool(left) and left[-1].sequence == watched.payload["migrated"]


def _failed(run: ReleaseRun, occasion: Occasion, ledger: Ledger, now: datetime) -> Message | None:
    """That a migration has failed; None where nobody has decided about one, or what had failed was made good."""
    if _approved(run, ledger) is None:
        return None
    left = schema_left(run, ledger)
    # Where no record of the failure says when it was, the first try to tell it does.
    seen = recorded(ledger, run, MIGRATION_WATCH_FAILED)
    known = (seen,) if seen else _tries_to_tell(run, occasion, ledger)
    watched = recorded(ledger, run, MIGRATION_WATCHED)
    afterwards = bool(known) and watched is not None and watched.sequence > known[0].sequence
    if afterwards and _ended_well(run, ledger, left):
        log.info("nothing to tell: what had failed was made good")
        return None
    return compose.migration_failed(occasion, schema=left, at=known[0].at if known else now)


def _left(run: ReleaseRun, occasion: Occasion, ledger: Ledger, now: datetime) -> Message | None:
    """What a migration that has failed has left; None where it has not, or nobody was told that it has."""
    left = schema_left(run, ledger)
    if not _tries_to_tell(run, occasion, ledger):
        log.info("nothing to tell: nothing has failed, or nobody was told of it")
        return None
    if _ended_well(run, ledger, left):
        log.info("nothing to tell: what had failed was made good")
        return None
    # How the schema stands is told as it is now; that it was taken back has happened at its time.
    back = entries_of_release(run, ledger, *UNDONE) if left == "back" else ()
    return compose.migration_left(occasion, schema=left, at=back[-1].at if back else now)


def _tries_to_tell(run: ReleaseRun, occasion: Occasion, ledger: Ledger) -> tuple[Entry, ...]:
    """How people were told that the run has failed, or would have been if somebody had taken the message."""
    key = occasion.key("migration-failed")
    return tuple(one for one in all_recorded(ledger, run, SENT, FAILED) if one.payload["message"] == key)


def _ended_well(run: ReleaseRun, ledger: Ledger, left: compose.Schema) -> bool:
    """Whether a failure was made good: what had failed was cleared, and went well."""
    looked_at = all(recorded(ledger, run, kind) for kind in (MIGRATION_VERIFIED, MIGRATION_WATCHED))
    return looked_at and left == "new"


def schema_left(run: ReleaseRun, ledger: Ledger) -> compose.Schema:
    """What this run's migration has made of the schema, as far as the ledger knows.

    A run that has found nothing to migrate, and has watched what another one has left, tells what that one did.

    :raises LedgerError: the ledger gives no answer
    """
    intent, failed = recorded(ledger, run, MIGRATION_INTENDED), recorded(ledger, run, MIGRATION_WATCH_FAILED)
    migrated = intent.sequence if intent else int(failed.payload["migrated"]) if failed else None
    if migrated is None:
        return "unchanged"
    if undone := undone_since(run, ledger, migrated):
        return "back" if undone.kind in UNDONE else "unchanged"
    left = standing(course_of(run, ledger))
    return "new" if left and left[-1].kind == MIGRATED else "unknown"


class _News(Protocol):
    """The message of an event, with the time at which it happened; None where there is nothing to tell."""

    def __call__(
        self, run: ReleaseRun, occasion: Occasion, ledger: Ledger, now: datetime, /
    ) -> Message | None: ...


NEWS: Final[Mapping[str, _News]] = {
    "migration-started": _started,
    "migration-completed": _completed,
    "migration-failed": _failed,
    "migration-left": _left,
}
"""What is told of each event of a migration; ``now`` is the time of what the ledger does not know."""
