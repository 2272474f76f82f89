"""The watch after cutover as a step of a release: what it begins with and how it ended are in the ledger.

The watch itself is :func:`include.watch.watch`; it needs no ledger, so that nothing can hold it up.
"""

from __future__ import annotations

from typing import Any

from include.errors import NotCutOver, RollbackBlocked, RolledBack, WatchHeld
from include.ledger.store import Ledger
from include.slo.account import Account
from include.steps.feedback import since_cutover
from include.steps.record import (
    SWITCHED_BACK,
    WATCH_CHECKPOINT,
    WATCH_ENDED,
    WATCH_PASSED,
    all_recorded,
    record,
)
from include.steps.run import ReleaseRun
from include.watch.config import Kept, WatchOutcome
from include.watch.window import Window


def keep_account(window: Window, ledger: Ledger, account: Account, *, kind: str = WATCH_CHECKPOINT) -> None:
    """Write the account of the window so far, where the next process that watches finds it.

    :param kind: of ledger entry
    :raises LedgerUnavailable: the ledger cannot be written
    """
    payload = {"number": window.number, "account": Kept(account=account).dump()["account"]}
    record(ledger, window, kind, payload, number=f"{window.number}:{account.tally.last_at}")


def kept_account(window: Window, ledger: Ledger, *, kind: str = WATCH_CHECKPOINT) -> Account | None:
    """The newest account of this window that was written; None when there is none.

    The newest is the one that was made last, not the one written last: of two processes that watch, one may have
    been stalled and write what it knew long ago.
    """
    found = all_recorded(ledger, window, kind)
    kept = [
        Kept.load({"account": entry.payload["account"]}).account
        for entry in found
        if entry.payload["number"] == window.number
    ]
    return max((one for one in kept if one is not None), key=lambda one: one.tally.last_at or 0.0, default=None)


def conclude_watch(run: ReleaseRun, ledger: Ledger, outcome: WatchOutcome) -> dict[str, Any]:
    """Record how the watch ended.

    :return: the outcome, when it passed or was accepted
    :raises NotCutOver: there was nothing to watch
    :raises RolledBack: the old version is in traffic again
    :raises RollbackBlocked: it should be and is not: act now
    :raises WatchHeld: no proof of health; traffic stays on the new version
    """
    if outcome.result == "NOT_CUT_OVER":
        raise NotCutOver(
            "nothing to watch",
            expected="the traffic on the new version",
            seen=outcome.sentence,
            remedy="see why the cutover ended; cleared with what comes after it, both begin again",
        )
    given = since_cutover(run, ledger)
    ended = {**outcome.dump(), "feedback": [report.facts() for report in given]}
    record(ledger, run, WATCH_ENDED, ended, number=outcome.number)
    if outcome.result in ("PASSED", "ACCEPTED"):
        return dict(record(ledger, run, WATCH_PASSED, outcome.dump()).payload)
    if outcome.result == "ROLLED_BACK":
        at = outcome.switched_at or outcome.at
        record(ledger, run, SWITCHED_BACK, {"by": "watch", "reason": outcome.sentence, "at": at})
        raise RolledBack("the watch switched back", seen=outcome.sentence, remedy="read the run of DAG rollback")
    if outcome.result == "ROLLED_BACK_BY_HAND":
        raise RolledBack("rolled back by hand", seen=outcome.sentence, remedy="nothing: this release is over")
    if outcome.result == "ROLLBACK_BLOCKED":
        raise RollbackBlocked(
            "a rollback is due and was not possible",
            expected="the traffic on the old slot",
            seen=outcome.sentence,
            remedy="act now: bring the old slot up, then trigger DAG rollback",
        )
    lost = outcome.result == "FENCED"
    raise WatchHeld(
        "the watch lost the Service" if lost else "the watch ended without proof of health",
        expected="every success criterion held over the whole window",
        seen=outcome.sentence,
        remedy="decide: clear this task to watch for another window, or trigger DAG rollback",
    )
