"""What a run has written to the ledger, and what it may do because of it (DESIGN, invariants 7 and 11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.state import ServiceState
from include.errors import LedgerError, TrafficError
from include.ledger.approvals import DECISION, Approval, NotApproved, approval
from include.ledger.delegations import DELEGATED, delegations
from include.ledger.entry import Entry, NewEntry
from include.ledger.grants import GRANT, granted
from include.ledger.store import Ledger
from include.plan.slots import Slot
from include.steps.run import ReleaseRun, parse_release_id

STARTED = "release.started"
PREVIEWED = "preflight.preview"
ADOPTION_PLANNED = "adoption.planned"
ADOPTED = "adoption.done"
ADOPTION_UNDO = "adoption.undo"
ADOPTION_UNDONE = "adoption.undone"
APPROVED = "gate.approved"
SIGNED_OFF = "release.signed-off"
DEPLOYED = "deploy.done"
VERIFIED = "verify.passed"
WATCH_CALLED = "cutover.watch-called"
WATCH_ARMED = "watch.armed"
CUTOVER_INTENDED = "cutover.intended"
CUT_OVER = "cutover.done"
OBSERVED = "cutover.observed"
DRAINED = "drain.done"
WATCH_STARTED = "watch.baseline"
WATCH_CHECKPOINT = "watch.checkpoint"
WATCH_PASSED = "watch.passed"
WATCH_ENDED = "watch.ended"
WATCH_EXTENDED = "watch.extended"
WATCH_ACCEPTED = "watch.accepted"
WATCH_ROLLBACK_ORDERED = "watch.rollback-ordered"
WATCH_ANSWER_REFUSED = "watch.answer-refused"
WATCH_ANSWERED_LATE = "watch.answered-late"
FEEDBACK_GIVEN = "feedback.given"
FEEDBACK_DECIDED = "feedback.decided"
FEEDBACK_SILENCE = "feedback.silence"
SWITCHED_BACK = "switch.back"
CLEANED_UP = "cleanup.done"
RELEASED = "release.verified"
ROLLBACK_CHOSEN = "rollback.chosen"
ROLLBACK_REFUSED = "rollback.refused"
ROLLBACK_BLOCKED = "rollback.blocked"
BROUGHT_BACK = "rollback.brought-back"
ROLLBACK_VERIFIED = "rollback.verified"
ROLLED_BACK = "rollback.done"
LEASE_TAKEOVER_INTENDED = "lease.takeover-intended"
LEASE_TAKEN_OVER = "lease.taken-over"


class OfRun(Protocol):
    """What belongs to one run of one release: the run itself, its watch."""

    @property
    def release_id(self) -> str:
        """Which run of which release."""


def record(
    ledger: Ledger,
    run: OfRun,
    kind: str,
    payload: Mapping[str, Any],
    *,
    actor: str = "stellwerk",
    number: int | str = 0,
    at: datetime | None = None,
) -> Entry:
    """Write that ``kind`` happened in this run; a second call returns the first entry.

    :param number: tells apart what may happen more than once in a run
    :param at: when it happened; now, when nobody says
    :raises LedgerUnavailable: the ledger cannot be written
    """
    version, environment, run_id = identity(run)
    return ledger.append(
        NewEntry(
            kind=kind,
            release=version,
            environment=environment,
            run_id=run_id,
            actor=actor,
            payload=dict(payload),
            key=f"{run.release_id}:{kind}:{number}" if number else f"{run.release_id}:{kind}",
            at=at,
        )
    )


def all_recorded(ledger: Ledger, run: OfRun, *kinds: str) -> tuple[Entry, ...]:
    """Return the run's entries of these kinds, oldest first."""
    version, environment, run_id = identity(run)
    return ledger.entries(release=version, environment=environment, run_id=run_id, kinds=kinds)


def recorded(ledger: Ledger, run: OfRun, kind: str) -> Entry | None:
    """Return the run's newest entry of this kind, if there is one."""
    found = all_recorded(ledger, run, kind)
    return found[-1] if found else None


def identity(run: OfRun) -> tuple[str, str, str]:
    """Version, environment and run id.

    :raises LedgerError: its id is none that Stellwerk gives
    """
    found = parse_release_id(run.release_id)
    if found is None:
        raise LedgerError("no id of a release", expected="version@environment/run", seen=run.release_id)
    return found


def require(ledger: Ledger, run: OfRun, kind: str, *, before: str) -> Entry:
    """Return the run's entry of this kind.

    :param before: the step that relies on it, for the message
    :raises TrafficError: there is none, whatever the task's state says
    """
    entry = recorded(ledger, run, kind)
    if entry is None:
        raise TrafficError(
            f"{before} refused",
            expected=f"a ledger entry {kind} of run {identity(run)[2]}",
            seen="none: an earlier step did not do its work, or its state was set by hand",
            remedy="clear the earlier step so that it really runs; states set by hand prove nothing",
        )
    return entry


def slots_of(ledger: Ledger, run: OfRun) -> tuple[Slot, Slot]:
    """Return (slot that was active when the run began, slot the release goes to).

    They are bound once, at the beginning: a deploy step that is run again after cutover must not take the slot
    that was left for the idle one.

    :raises TrafficError: the run has not begun
    """
    payload = require(ledger, run, STARTED, before="the step").payload
    source, target = payload["from"], payload["to"]
    return source, target


def require_approval(ledger: Ledger, run: ReleaseRun, now: datetime | None = None) -> Approval:
    """Return the approval of exactly this run and fingerprint.

    Task states and XComs play no part, anybody who may edit can set those. Where the plan itself lets a phase act
    (docs/adr/0015), its recorded grant stands for people's decisions; that is the plan's word, which has no age.

    :param now: when something is about to be done that was not begun; a Go that is older than the gate lets it be
        is none. None: what was begun is finished or proven, whenever that is
    :raises ApprovalError: with what is missing, or who said No-Go
    """
    found = _by_plan(ledger, run) if run.environment.gate.automatic == run.phase else _by_people(ledger, run, now)
    if isinstance(found, Approval):
        return found
    raise found.error(f"{run.phase} of {run.release.version} to {run.environment.name}")


def _by_plan(ledger: Ledger, run: ReleaseRun) -> Approval | NotApproved:
    return granted(
        all_recorded(ledger, run, GRANT),
        phase=run.phase,
        run_id=run.run_id,
        environment=run.environment.name,
        fingerprint=run.fingerprint,
        born=run.born,
    )


def _by_people(ledger: Ledger, run: ReleaseRun, now: datetime | None) -> Approval | NotApproved:
    environment, gate = run.environment, run.environment.gate
    # A delegation is for the release, whichever run it was given in; a decision is for its run.
    entries = ledger.entries(
        release=run.release.version, environment=environment.name, kinds=(DECISION, DELEGATED)
    )
    return approval(
        entries,
        phase=run.phase,
        run_id=run.run_id,
        fingerprint=run.fingerprint,
        roles=gate.roles,
        quorum=gate.quorum,
        triggered_by=run.triggered_by or "",
        delegated=delegations(entries, gate.roles, environment.everybody),
        born=run.born,
        oldest=gate.oldest(now) if now else None,
    )


def holder_ended(service: ServiceState, ledger: Ledger) -> bool:
    """Whether the release whose id is on the Service has come to its end.

    It has when it never moved the traffic (the Lease says whether it still runs), when the traffic was moved back,
    by Stellwerk or by hand, or when the ledger says that it was verified.
    """
    holder = release_id(service)
    if holder is None:
        return True
    switch = last_switch(service)
    if switch is None or switch.release != holder or switch.direction == "back":
        return True
    if switch.to not in service.selector.values():
        return True
    parsed = parse_release_id(holder)
    if parsed is None:
        return False
    version, environment, run_id = parsed
    return any(
        entry.kind == ROLLED_BACK or entry.run_id == run_id
        for entry in ledger.entries(release=version, environment=environment, kinds=(RELEASED, ROLLED_BACK))
    )
