"""A human takes the responsibility for what is lost: for one statement, by name, with a reason, in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from include.database.confirmation import LossConfirmation
from include.errors import AnswerIncomplete, ApprovalRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.plan.models import Environment
from include.steps.database.entries import LOSS_ANSWER_REFUSED, LOSS_CONFIRMED, LOSS_REFUSED, newest
from include.steps.database.site import database_plan
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun
from include.watch.steer import comment_of

ASKED_OF: Final = "database"
"""Under what name those who may confirm are asked: they are of several roles, and one of them answers for all."""


def may_confirm(run: ReleaseRun) -> tuple[str, ...]:
    """Who may take that responsibility: the people of the roles that decide about migrations."""
    environment: Environment = run.environment
    roles = environment.gate.only(database_plan(run).gate_roles).roles
    return tuple(sorted({user for users in roles.values() for user in users}))


def confirm(ledger: Ledger, run: ReleaseRun, answer: Mapping[str, Any], *, at: datetime) -> Entry:
    """Record the confirmation of a statement.

    :param answer: ``digest`` of the statement that was shown, ``by`` whom, ``reason``
    :param at: when the human answered
    :raises ApprovalRefused: nobody who may
    :raises AnswerIncomplete: it does not say why, or what it is about
    """
    by, reason, digest = str(answer.get("by", "")).strip(), comment_of(answer.get("reason")), answer.get("digest")
    people = may_confirm(run)
    if by not in people:
        raise ApprovalRefused(
            f"{by or 'nobody'} may not confirm what is lost", expected=f"one of {', '.join(people)}", seen=by
        )
    if lacking := [name for name, said in (("a reason", reason), ("its statement", digest)) if not said]:
        raise AnswerIncomplete(
            f"what is lost was confirmed without {' and '.join(lacking)}",
            expected="one sentence that says why, and the statement that the form shows",
            seen=f"an answer of {by}",
            remedy="answer again",
        )
    payload = {"digest": str(digest), "by": by, "reason": reason}
    # A yes after a no is another one, also by the same person and to the same statement.
    number = f"{str(digest)[:16]}:{by}:{at.isoformat()}"
    return record(ledger, run, LOSS_CONFIRMED, payload, actor=by, number=number, at=at)


def refuse(ledger: Ledger, run: ReleaseRun, answer: Mapping[str, Any], *, at: datetime) -> Entry:
    """Record a no, or that nobody has answered: whatever was confirmed in this run before counts no more.

    :param answer: ``digest`` of the statement that was shown, ``by`` whom, ``why`` in words
    :param at: when the human answered, or was waited for no longer
    :raises LedgerError: it is not recorded
    """
    payload = {name: str(answer.get(name) or "") for name in ("digest", "by", "why")}
    actor = payload["by"] or "stellwerk"
    return record(ledger, run, LOSS_REFUSED, payload, actor=actor, number=at.isoformat(), at=at)


def withdrawn(ledger: Ledger, run: ReleaseRun) -> Entry | None:
    """The no or the silence that was the last answer of the run; None where that is a yes, or there is none."""
    said = all_recorded(ledger, run, LOSS_CONFIRMED, LOSS_REFUSED)
    return said[-1] if said and said[-1].kind == LOSS_REFUSED else None


def record_incomplete(
    ledger: Ledger, run: ReleaseRun, answer: Mapping[str, Any], error: AnswerIncomplete, *, at: datetime
) -> Entry:
    """Write an answer that confirms nothing, and after which its question is asked again.

    :raises LedgerError: it is not recorded
    """
    by = str(answer.get("by", ""))
    payload = {"digest": str(answer.get("digest") or ""), "by": by, "refused": error.what}
    return record(ledger, run, LOSS_ANSWER_REFUSED, payload, actor=by, number=at.isoformat(), at=at)


def confirmation(ledger: Ledger, run: ReleaseRun, digest: str, *, since: int = 0) -> LossConfirmation | None:
    """The run's confirmation of a statement; None while there is none, or of somebody who may not (any more).

    The last answer counts: a no, or silence, takes back every yes before it.

    :param since: only one whose entry is newer than that of this sequence
    """
    found = newest(ledger, run, LOSS_CONFIRMED, digest=digest)
    if (
        found is None
        or found.sequence <= since
        or withdrawn(ledger, run)
        or found.payload["by"] not in may_confirm(run)
    ):
        return None
    return LossConfirmation.model_validate(found.payload)
