"""A grant: the plan's own word that lets a phase act without people, as an entry of the ledger (ADR 0015)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from include.ledger.approvals import GO, Approval, Decision, NotApproved
from include.ledger.entry import Entry, NewEntry

GRANT: Final = "gate.granted-by-plan"

_AUTHORISE: Final = "clear the task `authorise` before this step: it asks the plan about what is so now"


def grant(
    *,
    phase: str,
    rule: str,
    fingerprint: str,
    release: str,
    environment: str,
    run_id: str,
    actor: str,
    born: str = "",
) -> NewEntry:
    """The entry that says: the plan lets this phase act here without people, for exactly this fingerprint.

    :param rule: where the plan says so
    :param actor: who started the run
    :param born: what tells the run from another one under its id
    """
    payload = {"phase": phase, "rule": rule, "fingerprint": fingerprint, **({"born": born} if born else {})}
    key = f"{GRANT}/{release}/{environment}/{run_id}/{phase}/{fingerprint}/{born}"
    return NewEntry(GRANT, release, environment, run_id, actor, payload, key=key)


def granted(
    entries: Iterable[Entry], *, phase: str, run_id: str, environment: str, fingerprint: str, born: str = ""
) -> Approval | NotApproved:
    """Look for a grant by the plan. Production never has one, whatever a plan or an entry says.

    :param environment: where the phase acts; a grant for another one is none
    :param born: what tells the run from another one under its id
    """
    if environment == "production":
        why = "production is never changed without people, whatever the plan says"
        return NotApproved(why, remedy="remove gate.automatic from its plan, and let people decide at the gate")
    found = [
        entry
        for entry in entries
        if (entry.kind, entry.run_id, entry.environment) == (GRANT, run_id, environment)
        and entry.payload.get("phase") == phase
        and entry.payload.get("born", "") == born
    ]
    if not fingerprint or not found:
        return NotApproved("the plan's grant is not recorded", remedy=_AUTHORISE)
    for entry in found:
        if entry.payload.get("fingerprint") == fingerprint:
            rule = str(entry.payload.get("rule", ""))
            by_plan = Decision("plan", f"the plan ({rule})", GO, "", fingerprint, entry.at, entry.sequence)
            return Approval(phase, run_id, fingerprint, (by_plan,))
    given = str(found[-1].payload.get("fingerprint", ""))
    return NotApproved(
        f"the plan's grant was for {given[:19] or 'nothing'}, but now it would be {fingerprint[:19]}: "
        "something that it covers has changed",
        remedy=_AUTHORISE,
    )
