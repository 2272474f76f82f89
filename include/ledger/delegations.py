"""Somebody else speaks for a role of a release: who may name whom, and who holds a role because of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from include.ledger.entry import Entry, NewEntry
from include.plan.quorum import identity, most_people

__all__ = [
    "DELEGATED", "Delegation", "delegate_of", "delegated", "delegations", "holders", "identity", "most_people",
    "refusal",
]  # fmt: skip

DELEGATED = "gate.delegated"


@dataclass(frozen=True)
class Delegation:
    """A person of a role has named who speaks for it, for one release in one environment.

    :param by: of the role
    :param to: who may speak for it, too
    :param sequence: the ledger entry that records it
    """

    role: str
    by: str
    to: str
    sequence: int


def delegated(
    *, role: str, by: str, to: str, comment: str, phase: str, release: str, environment: str, run_id: str, at: str
) -> NewEntry:
    """The entry that records a delegation, once for each answer.

    :param at: when the person answered, as ISO text; tells one delegation from the next
    """
    payload = {"role": role, "by": by, "to": to, "comment": comment, "phase": phase}
    key = f"{DELEGATED}/{release}/{environment}/{run_id}/{phase}/{role}/{by}/{to}/{at}"
    return NewEntry(DELEGATED, release, environment, run_id, by, payload, key=key)


def delegations(
    entries: Iterable[Entry], roles: Mapping[str, Sequence[str]], people: frozenset[str]
) -> tuple[Delegation, ...]:
    """The delegations that hold by the plan as it is now, oldest first.

    Whoever has lost the role since has delegated nothing, and nobody unknown speaks for it.

    :param people: everybody whom the environment names
    """
    found = (
        Delegation(
            role=str(entry.payload.get("role", "")),
            by=str(entry.payload.get("by", "")),
            to=str(entry.payload.get("to", "")),
            sequence=entry.sequence,
        )
        for entry in entries
        if entry.kind == DELEGATED
    )
    return tuple(sorted((one for one in found if _holds(one, roles, people)), key=lambda one: one.sequence))


def delegate_of(role: str, given: Sequence[Delegation], *, before: int | None = None) -> str | None:
    """Who speaks for a role beside its own people; the newest delegation replaces those before it.

    :param before: as it was when this ledger entry was written; None for now
    """
    names = [one.to for one in given if one.role == role and (before is None or one.sequence < before)]
    return names[-1] if names else None


def holders(roles: Mapping[str, Sequence[str]], given: Sequence[Delegation]) -> dict[str, tuple[str, ...]]:
    """Role → who may speak for it now: its people, and their delegate."""
    return {
        role: tuple(dict.fromkeys([*users, *([to] if (to := delegate_of(role, given)) else [])]))
        for role, users in roles.items()
    }


def refusal(
    role: str,
    by: str,
    to: str,
    *,
    roles: Mapping[str, Sequence[str]],
    people: frozenset[str],
    decided: Mapping[str, str],
    quorum: int,
) -> str:
    """Why ``by`` cannot have ``to`` speak for a role; empty when it can be done.

    :param people: everybody whom the environment names
    :param decided: other roles → who has said Go for them
    :param quorum: distinct people that the gate needs
    """
    own = roles.get(role, ())
    if by not in own:
        return f"only {' or '.join(own) or 'nobody'} can delegate {role}; a delegate cannot"
    if not to:
        return "choose who decides instead"
    if to in own:
        return f"{to} is of {role} and may answer this question anyway"
    if to not in people:
        return f"{to} is nobody whom the environment names; known are {', '.join(sorted(people - set(own)))}"
    others = {other: [decided[other]] if other in decided else list(roles[other]) for other in roles}
    if most_people({**others, role: [to]}) < quorum:
        return f"with {to} for {role}, fewer than {quorum} different people would decide: name somebody else"
    return ""


def _holds(one: Delegation, roles: Mapping[str, Sequence[str]], people: frozenset[str]) -> bool:
    own = roles.get(one.role, ())
    return one.by in own and one.to in people and one.to not in own
