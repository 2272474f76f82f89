"""The agreement between cutover and watch, in the ledger: no traffic moves before somebody watches (ADR 0010)."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import Final

from include.errors import RolledBack, WatchAsleep
from include.ledger.store import Ledger
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    VERIFIED,
    WATCH_ARMED,
    WATCH_CALLED,
    WATCH_ENDED,
    WATCH_ROLLBACK_ORDERED,
    WATCH_STARTED,
    all_recorded,
    record,
    recorded,
    require,
    slots_of,
)
from include.steps.run import ReleaseRun
from include.watch.config import Armed, WatchConfig

log = logging.getLogger(__name__)

AWAKE_SECONDS: Final = 90.0
_ASK_SECONDS: Final = 0.2


async def watch_awake(run: ReleaseRun, ledger: Ledger, *, limit_seconds: float = AWAKE_SECONDS) -> None:
    """Ask for the watch and wait until it answers: whoever answers has everything open that it is going to read.

    Each attempt asks anew, so that no answer of long ago counts.

    :raises WatchAsleep: nobody has answered
    :raises RolledBack: somebody has ordered the rollback already: nothing is moved
    """
    number = len(all_recorded(ledger, run, WATCH_CALLED)) + 1
    record(ledger, run, WATCH_CALLED, {"number": number}, number=number)
    began = time.monotonic()
    while not _answered(run, ledger, number):
        if time.monotonic() - began > limit_seconds:
            raise WatchAsleep(
                "nobody would watch: nothing was moved",
                expected=f"the task watch deferred, and its trigger running, within {limit_seconds:g} s",
                seen="no answer of it in the ledger",
                remedy="see that the triggerer runs and what the log of the task watch says; clear both tasks",
            )
        await asyncio.sleep(_ASK_SECONDS)
    log.info("the watch is awake (asked %.1f s ago)", time.monotonic() - began)


def _answered(run: ReleaseRun, ledger: Ledger, number: int) -> bool:
    found = all_recorded(ledger, run, WATCH_ARMED, WATCH_ROLLBACK_ORDERED)
    for entry in found:
        if entry.kind == WATCH_ROLLBACK_ORDERED:
            raise RolledBack(
                f"{entry.actor} ordered the rollback before the cutover: nothing was moved",
                seen=str(entry.payload.get("why") or "no comment"),
                remedy="start a new release",
            )
    return any(entry.payload.get("number") == number for entry in found)


def answer_cutover(armed: Armed, ledger: Ledger) -> bool:
    """Tell a cutover that asks that somebody watches.

    :return: whether one has asked
    :raises LedgerError: it cannot be told
    """
    said = all_recorded(ledger, armed, WATCH_CALLED, WATCH_ARMED)
    number = sum(entry.kind == WATCH_CALLED for entry in said)
    answered = {entry.payload.get("number") for entry in said if entry.kind == WATCH_ARMED}
    if number and number not in answered:
        record(ledger, armed, WATCH_ARMED, {"number": number}, number=number)
    return bool(number)


def arm(run: ReleaseRun, ledger: Ledger) -> Armed:
    """The watch of a run, before its next window (or in it: see :func:`begun`).

    :raises TrafficError: the slot that is going to be watched is not verified
    """
    require(ledger, run, VERIFIED, before="the watch")
    source, target = slots_of(ledger, run)
    ended = recorded(ledger, run, WATCH_ENDED)
    return Armed(
        release_id=run.release_id,
        version=run.release.version,
        environment=run.environment.without_lists(),
        source=source,
        target=target,
        number=int(ended.payload["number"]) + 1 if ended else 0,
        started_by=run.triggered_by,
    )


def begun(armed: Armed, ledger: Ledger, moved_at: datetime) -> WatchConfig:
    """Fix the window, once; a later call returns the same watch, whatever it is given.

    The first window began at the cutover, however late this is called, with the baseline that the cutover has
    taken. After a watch has ended without proof (undecided, say) the next window begins now.

    :param moved_at: when the traffic came, as the Service tells
    :raises TrafficError: this run has moved no traffic
    """
    if known := started(armed, ledger):
        return known
    cut = recorded(ledger, armed, CUT_OVER) or require(ledger, armed, CUTOVER_INTENDED, before="the watch")
    cutover_at = datetime.fromisoformat(str(cut.payload.get("at") or moved_at.isoformat())).timestamp()
    config = armed.window(
        cutover_at,
        time.time() if armed.number else cutover_at,
        {} if armed.number else cut.payload.get("baselines", {}),
        may_switch_back=bool(cut.payload.get("automatic_switch_back")),
    )
    entry = record(ledger, armed, WATCH_STARTED, {"config": config.dump()}, number=armed.number)
    return WatchConfig.load(entry.payload["config"])


def cut_over_at(armed: Armed, ledger: Ledger) -> datetime | None:
    """When the cutover was recorded to have happened; the Service does not tell of a selector set by hand."""
    cut = recorded(ledger, armed, CUT_OVER)
    return datetime.fromisoformat(str(cut.payload["at"])) if cut else None


def started(armed: Armed, ledger: Ledger) -> WatchConfig | None:
    """The window of this watch; None while it has not begun."""
    for entry in all_recorded(ledger, armed, WATCH_STARTED):
        if entry.payload["config"]["number"] == armed.number:
            return WatchConfig.load(entry.payload["config"])
    return None


def begin_watch(run: ReleaseRun, ledger: Ledger) -> WatchConfig | Armed:
    """The watch of a run that has cut over; armed while it has not.

    :raises TrafficError: the slot that is going to be watched is not verified
    """
    armed = arm(run, ledger)
    if known := started(armed, ledger):
        return known
    at = cut_over_at(armed, ledger)
    return begun(armed, ledger, at) if at else armed
