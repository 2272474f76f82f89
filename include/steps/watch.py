"""The watch after cutover as a step of a release: what it begins with and how it ended are in the ledger.

The watch itself is :func:`include.watch.watch`; it needs no ledger, so that nothing can hold it up.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from include.errors import RollbackBlocked, RolledBack, WatchHeld
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.slo.account import Account
from include.steps.feedback import since_cutover
from include.steps.record import (
    CUT_OVER,
    SWITCHED_BACK,
    WATCH_CHECKPOINT,
    WATCH_ENDED,
    WATCH_PASSED,
    WATCH_STARTED,
    record,
    recorded,
    require,
    slots_of,
)
from include.steps.run import ReleaseRun, parse_release_id
from include.watch.back import drain_after_back
from include.watch.config import Kept, WatchConfig, WatchOutcome

__all__ = [
    "WatchConfig", "WatchOutcome", "begin_watch", "conclude_watch", "drain_after_back", "keep_account",
    "kept_account",
]  # fmt: skip


def begin_watch(run: ReleaseRun, ledger: Ledger) -> WatchConfig:
    """Fix the window, once; a later call returns the same watch.

    It began at the cutover, however late this is called, with the baseline that the cutover has recorded. After a
    watch has ended without proof (undecided, say) the next call begins another window, now.

    :raises TrafficError: this run has not cut over
    """
    cut = require(ledger, run, CUT_OVER, before="the watch").payload
    source, target = slots_of(ledger, run)
    started, ended = recorded(ledger, run, WATCH_STARTED), recorded(ledger, run, WATCH_ENDED)
    number = int(ended.payload["number"]) + 1 if ended else 0
    if started and started.payload["config"]["number"] == number:
        return WatchConfig.load(started.payload["config"])
    cutover_at = datetime.fromisoformat(cut["at"]).timestamp()
    began_at = time.time() if number else cutover_at
    config = WatchConfig(
        release_id=run.release_id,
        version=run.release.version,
        environment=run.environment,
        source=source,
        target=target,
        cutover_at=cutover_at,
        began_at=began_at,
        deadline=began_at + run.environment.watch.seconds,
        baselines={} if number else cut.get("baselines", {}),
        may_switch_back=bool(cut.get("automatic_switch_back")),
        number=number,
        started_by=run.triggered_by,
    )
    entry = record(ledger, run, WATCH_STARTED, {"config": config.dump()}, number=number)
    return WatchConfig.load(entry.payload["config"])


def keep_account(config: WatchConfig, ledger: Ledger, account: Account) -> None:
    """Write the account of the window so far, where the next process that watches finds it.

    :raises LedgerUnavailable: the ledger cannot be written
    """
    version, environment, run_id = _run_of(config)
    ledger.append(
        NewEntry(
            kind=WATCH_CHECKPOINT,
            release=version,
            environment=environment,
            run_id=run_id,
            actor="stellwerk",
            payload={"number": config.number, "account": Kept(account=account).dump()["account"]},
            key=f"{config.release_id}:{WATCH_CHECKPOINT}:{config.number}:{account.tally.last_at}",
        )
    )


def kept_account(config: WatchConfig, ledger: Ledger) -> Account | None:
    """The newest account of this window that was written; None when there is none.

    The newest is the one that was made last, not the one written last: of two processes that watch, one may have
    been stalled and write what it knew long ago.
    """
    version, environment, run_id = _run_of(config)
    found = ledger.entries(release=version, environment=environment, run_id=run_id, kinds=(WATCH_CHECKPOINT,))
    kept = [
        Kept.load({"account": entry.payload["account"]}).account
        for entry in found
        if entry.payload["number"] == config.number
    ]
    return max((one for one in kept if one is not None), key=lambda one: one.tally.last_at or 0.0, default=None)


def _run_of(config: WatchConfig) -> tuple[str, str, str]:
    parsed = parse_release_id(config.release_id)
    assert parsed is not None, "a watch is of a release that Stellwerk cut over"
    return parsed


def conclude_watch(run: ReleaseRun, ledger: Ledger, outcome: WatchOutcome) -> dict[str, Any]:
    """Record how the watch ended.

    :return: the outcome, when it passed or was accepted
    :raises RolledBack: the old version is in traffic again
    :raises RollbackBlocked: it should be and is not: act now
    :raises WatchHeld: no proof of health; traffic stays on the new version
    """
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
