"""A human takes the responsibility for what is lost: for one statement, by name, with a reason, in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.database.confirmation import LossConfirmation
from include.errors import ApprovalRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.plan.models import Environment
from include.steps.database.entries import LOSS_CONFIRMED, newest
from include.steps.database.site import database_plan
from include.steps.record import record
from include.steps.run import ReleaseRun


def may_confirm(run: ReleaseRun) -> tuple[str, ...]:
    """Who may take that responsibility: the people of the roles that decide about migrations."""
    environment: Environment = run.environment
    roles = environment.gate.only(database_plan(run).gate_roles).roles
    return tuple(sorted({user for users in roles.values() for user in users}))


def confirm(ledger: Ledger, run: ReleaseRun, answer: Mapping[str, Any], *, at: datetime) -> Entry:
    """Record the confirmation of a statement.

    :param answer: ``digest`` of the statement that was shown, ``by`` whom, ``reason``
    :param at: when the human answered
    :raises ApprovalRefused: nobody who may, or without a reason
    """
    by, reason = str(answer.get("by", "")).strip(), str(answer.get("reason", "")).strip()
    people = may_confirm(run)
    if by not in people:
        raise ApprovalRefused(
            f"{by or 'nobody'} may not confirm what is lost", expected=f"one of {', '.join(people)}", seen=by
        )
    if not reason:
        raise ApprovalRefused("what is lost was confirmed without a reason", expected="one sentence", seen="none")
    digest = str(answer["digest"])
    payload = {"digest": digest, "by": by, "reason": reason}
    return record(ledger, run, LOSS_CONFIRMED, payload, actor=by, number=f"{digest[:16]}:{by}", at=at)


def confirmation(ledger: Ledger, run: ReleaseRun, digest: str) -> LossConfirmation | None:
    """The run's confirmation of a statement; None while there is none, or of somebody who may not (any more)."""
    found = newest(ledger, run, LOSS_CONFIRMED, digest=digest)
    if found is None or found.payload["by"] not in may_confirm(run):
        return None
    return LossConfirmation.model_validate(found.payload)
