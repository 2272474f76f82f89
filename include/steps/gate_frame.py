"""What belongs to a role's question beside what is decided about: until when, what has changed, who delegates."""

from __future__ import annotations

from include.gate.asked import shown_for
from include.gate.form import Frame
from include.gate.parts import difference
from include.gate.timing import Wait
from include.ledger.approvals import DECISION, GO
from include.ledger.delegations import delegate_of
from include.markdown import literal
from include.plan.calendar import spoken
from include.steps.gate_round import GateState


def frame_of(state: GateState, role: str, wait: Wait) -> Frame:
    """What belongs to the question of a role, whatever it is about."""
    run, delegate = state.run, delegate_of(role, state.delegations)
    by = next((one.by for one in reversed(state.delegations) if one.role == role), "")
    approved, changed = _before(state)
    return Frame(
        deadline=wait.deadline,
        timezone=run.release.timezone,
        people=run.environment.gate.quorum,
        changed=changed,
        approved=approved,
        points=state.points,
        lapsed=_lapsed(state, role),
        delegate=f"{literal(by)} has named **{literal(delegate)}** to speak for {role}, too." if delegate else "",
    )


def _lapsed(state: GateState, role: str) -> str:
    given, lasts = state.standing.get(role), state.run.environment.gate.go_lasts
    if given is None or lasts is None or not given.lapsed(state.oldest):
        return ""
    return (
        f"**Asked again**: the Go of {literal(given.user)}, {given.at:%Y-%m-%d %H:%M} UTC, has lapsed; "
        f"one counts for {spoken(lasts)}."
    )


def _before(state: GateState) -> tuple[str, tuple[str, ...]]:
    """Who has approved what was to happen before, and what differs from that; nobody: two empty ones."""
    run = state.run
    earlier = [
        entry
        for entry in state.entries
        if entry.kind == DECISION
        and (entry.payload.get("phase"), entry.payload.get("choice")) == (run.phase, GO)
        and (entry.run_id, entry.payload.get("fingerprint")) != (run.run_id, run.fingerprint)
    ]
    if not earlier:
        return "", ()
    last = earlier[-1]
    then = str(last.payload.get("fingerprint", ""))
    people = {
        entry.actor for entry in earlier if (entry.run_id, entry.payload.get("fingerprint")) == (last.run_id, then)
    }
    said = f"{', '.join(sorted(people))}, {last.at:%Y-%m-%d %H:%M} UTC"
    if then == run.fingerprint:
        return said, ()
    shown = shown_for(state.entries, run.phase, then)
    if shown is None:
        return said, ("what it was is not recorded",)
    return said, difference(shown.parts, run.parts) or ("something that has no words: the fingerprint is another",)
