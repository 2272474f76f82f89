"""What has happened since, so that what a release has to tell of its slots is so no more."""

from __future__ import annotations

from typing import Final

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.record import CUT_OVER, ROLLED_BACK, SWITCHED_BACK, WATCH_ENDED, recorded
from include.steps.run import ReleaseRun, release_id_of
from include.steps.schema_course import RESTORED, STOPS, being_restored

_LOST: Final = ("ROLLED_BACK", "ROLLED_BACK_BY_HAND", "FENCED")
"""How a watch ends that has found the traffic elsewhere, also where no switch back is recorded: it was moved by
hand, or the record has yet to come."""


def overtaken_by(run: ReleaseRun, ledger: Ledger, since: Entry) -> Entry | None:
    """What says that users are, or may be, no more on what this run has brought; None while they are.

    That the run itself was rolled back counts whenever it was recorded: a switch back waits for no record, and the
    cutover may have been proven after it. Of others it counts that they have cut over since then, restored the
    database, or stopped the application for that.

    :param since: what is to be told
    :raises LedgerError: the ledger gives no answer
    """
    ended = recorded(ledger, run, WATCH_ENDED)
    if ended and ended.payload.get("result") in _LOST:
        return ended
    found = ledger.entries(environment=run.environment.name, kinds=(SWITCHED_BACK, ROLLED_BACK, CUT_OVER, *STOPS))
    if stopped := being_restored(found):
        return stopped
    for entry in reversed(found):
        ours, back = _whose(entry) == run.release_id, entry.kind in (SWITCHED_BACK, ROLLED_BACK)
        by_others = entry.kind in (CUT_OVER, RESTORED) and not ours and entry.sequence > since.sequence
        if by_others or (back and ours):
            return entry
    return None


def _whose(entry: Entry) -> str:
    """Which run of which release an entry is about: a rollback is a run of its own, and says whose it was."""
    return str(entry.payload.get("release_id") or release_id_of(entry))
