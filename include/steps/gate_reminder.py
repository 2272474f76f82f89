"""Tell people of a gate: before its deadline, once, who has not answered; and who was named to decide."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from include.errors import LedgerError, MessageError
from include.gate.answers import Given
from include.gate.asked import ASKED
from include.gate.timing import Wait
from include.ledger.approvals import NO_GO
from include.ledger.store import Ledger
from include.messages.deliver import deliver
from include.messages.model import Message
from include.messages.reminder import gate_delegated, gate_reminder
from include.steps.announce import Transports, occasion_of
from include.steps.gate_round import GateState
from include.steps.page import within
from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

#: seconds that a message may take of the time that is left for an answer
PATIENCE_SECONDS = 8.0


def remind(state: GateState, ledger: Ledger, wait: Wait, send: Transports, now: datetime) -> bool:
    """Remind those who have not answered; whether it went out now. It never raises.

    Every role's task calls this at about the same time: the first one names all the missing roles, the others find
    the message sent. A gate that somebody has refused is decided: nobody is reminded of it.
    """
    run = state.run
    answered = {role for role in state.standing if role in state.said_go}
    missing = {role: people for role, people in state.holders.items() if role not in answered}
    if not missing or any(given.choice == NO_GO for given in state.standing.values()):
        return False
    # What is asked later, of whomever, is another asking of the same gate, with a wait of its own.
    asked = (entry for entry in reversed(state.own) if entry.kind == ASKED and entry.payload["phase"] == run.phase)
    newest = next(asked, None)
    number = f"{run.phase}:{newest.sequence if newest else 0}"
    return _send(run, ledger, missing, wait, send, now, what=run.phase, number=number)


def remind_of_points(
    run: ReleaseRun, ledger: Ledger, role: str, points: Sequence[str], wait: Wait, send: Transports, now: datetime
) -> bool:
    """Remind a role of what it has yet to tick; whether it went out now. It never raises."""
    missing = {role: run.environment.roles.get(role, ())}
    number = f"{run.phase}:{role}:{wait.deadline.isoformat()}"
    return bool(points) and _send(run, ledger, missing, wait, send, now, what="; ".join(points), number=number)


def tell_delegate(run: ReleaseRun, ledger: Ledger, role: str, given: Given, send: Transports) -> bool:
    """Tell who was named to decide; whether that went out now. It never raises."""
    message = gate_delegated(
        occasion_of(run, ledger), role=role, by=str(given.user), to=given.to, comment=given.comment, at=given.at
    )
    return _deliver(ledger, message, send, given.at)


def _send(
    run: ReleaseRun,
    ledger: Ledger,
    missing: Mapping[str, Sequence[str]],
    wait: Wait,
    send: Transports,
    now: datetime,
    *,
    what: str,
    number: str,
) -> bool:
    message = gate_reminder(
        occasion_of(run, ledger),
        what=f"{what} {run.release.version}, {run.environment.name}",
        missing=missing,
        deadline=wait.deadline,
        number=number,
        at=now,
    )
    return _deliver(ledger, message, send, now)


def _deliver(ledger: Ledger, message: Message, send: Transports, now: datetime) -> bool:
    try:
        return deliver(ledger, message, within(PATIENCE_SECONDS, send[message.kind]), now).sent
    except (MessageError, LedgerError) as error:
        log.warning("nobody could be told: %s", error)
        return False
