"""The calendar's look: the plan as it is now, what became of its phases, and what is therefore to be started."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from include.errors import LedgerError
from include.ledger.entry import Entry as Recorded
from include.ledger.store import Ledger
from include.plan.calendar import Decision, Entry, PhaseKey, Say, Standing, current, decide, entries
from include.plan.loader import Plan, conflicts_of
from include.steps.phase import KINDS, PHASE_STARTED, RunState, standings

log = logging.getLogger(__name__)

NEXT: Final = 10
"""So many of the phases that wait are told."""

OpenLedger = Callable[[str], Ledger]
"""Id of an Airflow connection to the ledger behind it."""


def look(plan: Plan, open_ledger: OpenLedger, run_state: RunState, now: datetime) -> tuple[Decision, ...]:
    """Decide about every phase of every release of the plan, by time.

    A ledger that gives no answer makes its phases unknown, and no others.
    """
    come = [entry for entry in current(entries(plan.releases.values()), now) if entry.at <= now]
    read = _read(plan, come, open_ledger)
    begun = frozenset(one.release for recorded in read.values() for one in recorded if one.kind == PHASE_STARTED)
    refused = {
        version: "; ".join(problem.what for problem in problems)
        for version, problems in conflicts_of(plan, now, begun).items()
    }
    known = current(entries(plan.releases.values(), refused), now)
    found: dict[PhaseKey, Standing] = {}
    for connection, wanted in _by_ledger(plan, come).items():
        if connection in read:
            found |= standings(wanted, read[connection], run_state)
    return decide(known, found, now)


def _read(plan: Plan, come: Iterable[Entry], open_ledger: OpenLedger) -> dict[str, tuple[Recorded, ...]]:
    """What the ledgers say of phases, by connection; one that gives no answer is not there."""
    read: dict[str, tuple[Recorded, ...]] = {}
    for connection in _by_ledger(plan, come):
        try:
            read[connection] = open_ledger(connection).entries(kinds=KINDS)
        except LedgerError as error:
            log.error("ledger %s: %s", connection, error)  # noqa: TRY400 - the sentence says it all
    return read


def _by_ledger(plan: Plan, come: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in come:
        if environment := plan.environments.get(entry.environment):
            found.setdefault(environment.connections.ledger, []).append(entry)
    return found


def told(plan: Plan, decisions: Sequence[Decision], *, next_ones: int = NEXT) -> Iterator[str]:
    """The calendar as lines of text: what is wrong, what has to be looked at, what comes next.

    :param next_ones: so many of the phases that wait
    """
    for problem in plan.problems:
        yield f"BROKEN  {problem}"
    shown = [one for one in decisions if one.say not in (Say.WAITING, Say.DONE)]
    waiting = [one for one in decisions if one.say is Say.WAITING]
    done = sum(one.say is Say.DONE for one in decisions)
    for one in (*shown, *waiting[:next_ones]):
        yield line(plan, one)
    rest = len(waiting) - next_ones
    yield f"{done} phase(s) done, {len(waiting)} waiting" + (f", {rest} of them not shown" if rest > 0 else "")


def line(plan: Plan, decision: Decision) -> str:
    """A phase in one line, with its time as its release tells it."""
    entry = decision.entry
    zone = ZoneInfo(plan.releases[entry.key.release].timezone)
    at = entry.at.astimezone(zone)
    return (
        f"{decision.say.value:<8} {entry.key.release:<10} {entry.key.phase:<20} {entry.environment:<11} "
        f"{at:%a %Y-%m-%d %H:%M %Z}  {decision.why}"
    )
