"""Whom a gate asks, about what, and what became of it: the gate's part of the ledger, read as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from include.errors import ApprovalMissing
from include.gate.answers import DELEGATE, Given, Rules
from include.gate.asked import ASKED, Asked, at_place, to_ask
from include.gate.checklist import EVIDENCE, Point, points, unsettled
from include.gate.timing import Wait
from include.gate.timing import wait as waiting
from include.ledger.approvals import DECISION, GO, Decision, standing
from include.ledger.delegations import DELEGATED, Delegation, delegated, delegations, holders
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.steps.run import ReleaseRun
from include.steps.staging.subject import rehearsal_for

CHECKLIST: Final = "go-no-go"
DECIDES = "production-blue-green"
"""The phase whose gate settles the checklist of that name."""


@dataclass(frozen=True)
class GateState:
    """What the ledger knows of a gate.

    :param entries: decisions, delegations and questions of the release in its environment, all runs
    :param delegations: those that hold
    :param standing: the last decision of each role in this run
    :param points: of the gate's checklist
    :param oldest: from when on a Go counts; None: its age plays no part
    """

    run: ReleaseRun
    entries: Sequence[Entry]
    delegations: tuple[Delegation, ...]
    standing: dict[str, Decision]
    points: tuple[Point, ...]
    oldest: datetime | None = None

    @property
    def own(self) -> list[Entry]:
        """The entries of this run."""
        return [entry for entry in self.entries if entry.run_id == self.run.run_id]

    @property
    def holders(self) -> dict[str, tuple[str, ...]]:
        """Role → who may speak for it now."""
        return holders(self.run.environment.gate.roles, self.delegations)

    @property
    def said_go(self) -> dict[str, str]:
        """Role → who has said Go to what is so now, and not too long ago."""
        return {
            role: given.user
            for role, given in self.standing.items()
            if given.choice == GO and given.fingerprint == self.run.fingerprint and not given.lapsed(self.oldest)
        }


def state_of(run: ReleaseRun, ledger: Ledger, now: datetime) -> GateState:
    """Read the gate of a run.

    :param run: as what is decided about binds it
    :param now: when it is read: a Go that has lapsed by then counts no more
    """
    version, environment = run.release.version, run.environment
    entries = ledger.entries(
        release=version, environment=environment.name, kinds=(DECISION, DELEGATED, ASKED, *EVIDENCE)
    )
    given = delegations(entries, environment.gate.roles, environment.everybody)
    items = environment.checklists.get(CHECKLIST, ()) if run.phase == DECIDES else ()
    return GateState(
        run=run,
        entries=entries,
        delegations=given,
        standing=standing(
            entries,
            phase=run.phase,
            run_id=run.run_id,
            roles=environment.gate.roles,
            delegated=given,
            born=run.born,
        ),
        points=points(
            items,
            entries,
            checklist=CHECKLIST,
            planned=run.release.date,
            rehearsal=rehearsal_for(items, run, ledger),
        ),
        oldest=environment.gate.oldest(now),
    )


def roles_to_ask(state: GateState, *, again: bool) -> tuple[str, ...]:
    """The roles that have yet to say Go to what is so now.

    :param again: only those that were asked and whose answer asks for another question: they named a delegate, or
        their Go has lapsed, or was for something that has changed since. A role that was not heard has no second
        question
    """
    open_roles = [role for role in state.run.environment.gate.roles if role not in state.said_go]
    return tuple(role for role in open_roles if not again or _needs_another(state, role))


def round_of(state: GateState, task: str, *, again: bool) -> list[dict[str, str]]:
    """What the task that asks is expanded over.

    :param task: its id
    :raises ApprovalMissing: a point of the checklist that a machine settles is not settled
    """
    must_be_settled(state)
    return to_ask(state.own, task, roles_to_ask(state, again=again))


def must_be_settled(state: GateState) -> None:
    """Refuse to ask people for a Go that evidence speaks against, or that nothing speaks for.

    :raises ApprovalMissing: naming the points
    """
    if missing := unsettled(state.points):
        raise ApprovalMissing(
            f"the checklist {CHECKLIST} is not settled",
            expected="; ".join(point.text for point in missing),
            seen="; ".join(point.line for point in missing),
            remedy="do what leaves the record, then clear this task; or have a role settle the point in "
            f"environments/{state.run.environment.name}.yaml",
        )


def wait_for(state: GateState, task: str, place: int, now: datetime) -> Wait:
    """How long the question waits; one that is asked at the same place before its deadline waits no longer."""
    before = at_place(state.own, task, place)
    if before and before.fingerprint == state.run.fingerprint and not before.wait.is_over(now):
        return before.wait
    gate = state.run.environment.gate
    return waiting(now, gate.timeout_seconds, gate.reminder_seconds)


def own_points(state: GateState, role: str) -> tuple[str, ...]:
    """The points that a Go of the role vouches for."""
    return tuple(point.text for point in state.points if point.role == role)


def may_name(state: GateState, role: str) -> tuple[str, ...]:
    """Whom a role can name as its delegate."""
    return tuple(sorted(state.run.environment.everybody - set(state.run.environment.gate.roles[role])))


def rules_of(state: GateState, role: str, asked: Asked) -> Rules:
    """What an answer of the role is held against."""
    environment = state.run.environment
    return Rules(
        role=role,
        roles=environment.gate.roles,
        holders=state.holders,
        people=environment.everybody,
        quorum=environment.gate.quorum,
        wait=asked.wait,
        shown=asked.fingerprint,
        decided=state.said_go,
        points=own_points(state, role),
    )


def answered(state: GateState, role: str, asked: Asked | None) -> Given | None:
    """The answer to a question that the ledger holds already: its task was stopped after that, before its end.

    A Go to what is so now is one wherever it was asked for.

    :param asked: the question; None where nothing was asked
    """
    decided = state.standing.get(role)
    if decided and role not in state.said_go and not (asked and decided.sequence > asked.sequence):
        decided = None
    named = _delegated(state, role, asked.sequence) if asked else None
    if named and (decided is None or named.sequence > decided.sequence):
        told = named.payload
        return Given(DELEGATE, named.actor, named.at, str(told.get("comment", "")), to=str(told.get("to", "")))
    if decided is None:
        return None
    return Given(decided.choice, decided.user, decided.at, decided.comment, shown=decided.fingerprint)


def record_delegation(ledger: Ledger, run: ReleaseRun, role: str, given: Given) -> Entry:
    """Write who speaks for the role from now on."""
    return ledger.append(
        delegated(
            role=role,
            by=str(given.user),
            to=given.to,
            comment=given.comment,
            phase=run.phase,
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            at=given.at.isoformat(),
        )
    )


def _needs_another(state: GateState, role: str) -> bool:
    given = state.standing.get(role)
    if given is not None and given.choice == GO:
        return True  # it is not for what is so now, or too old, or the role would not be open
    return _delegated(state, role, given.sequence if given else 0) is not None


def _delegated(state: GateState, role: str, since: int) -> Entry | None:
    """The newest delegation of the role at this gate after an entry."""
    found = (
        entry
        for entry in reversed(state.own)
        if entry.kind == DELEGATED
        and (entry.payload.get("role"), entry.payload.get("phase")) == (role, state.run.phase)
    )
    return next((entry for entry in found if entry.sequence > since), None)
