"""Whether a phase of a release may act, decided from the ledger's entries alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.errors import ApprovalError, ApprovalMissing, ApprovalRefused
from include.ledger.delegations import Delegation, delegate_of, identity
from include.ledger.entry import SHORT_HASH, Entry, NewEntry

DECISION = "gate.decision"

Choice = Literal["Go", "No-Go"]

GO: Choice = "Go"
NO_GO: Choice = "No-Go"

MINIMUM_QUORUM = 2
"""Nobody decides alone, whatever a plan says."""


@dataclass(frozen=True)
class Decision:
    """What one person decided for a role.

    :param at: when the person answered
    :param sequence: the ledger entry that records it
    """

    role: str
    user: str
    choice: str
    comment: str
    fingerprint: str
    at: datetime
    sequence: int

    def lapsed(self, oldest: datetime | None) -> bool:
        """Whether it is a Go that is too old to be acted upon; a No-Go never is.

        :param oldest: from when on a Go counts; None: its age plays no part
        """
        return oldest is not None and self.choice == GO and self.at < oldest


@dataclass(frozen=True)
class Approval:
    """A Go that binds these people to this fingerprint.

    :param decisions: the Go of each role
    """

    phase: str
    run_id: str
    fingerprint: str
    decisions: tuple[Decision, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Who decided, each once."""
        return tuple(sorted({decision.user for decision in self.decisions}))


@dataclass(frozen=True)
class NotApproved:
    """No Go.

    :param reason: exactly who or what is missing
    :param refused: somebody entitled said No-Go; otherwise a Go is merely missing
    :param remedy: what gives the Go; what people do at a gate when it is left out
    """

    reason: str
    refused: bool = False
    remedy: str = ""

    def error(self, what: str) -> ApprovalError:
        """The error for a step that needed the approval.

        :param what: the step, for example ``"cutover of 3.0.0 in production"``
        """
        kind = ApprovalRefused if self.refused else ApprovalMissing
        remedy = "start a new run and decide again" if self.refused else "decide at the gate, then repeat the step"
        remedy = self.remedy or remedy
        return kind(f"{what} is not approved", expected="a Go in the ledger", seen=self.reason, remedy=remedy)


def decision(
    *,
    phase: str,
    role: str,
    user: str,
    choice: Choice,
    comment: str,
    fingerprint: str,
    release: str,
    environment: str,
    run_id: str,
    at: datetime,
    ticked: Sequence[str] = (),
    born: str = "",
) -> NewEntry:
    """The entry that records a person's answer, once for each answer however often it is recorded.

    :param ticked: the points of the gate's checklist that the person vouches for
    :param born: what tells the run from another one under its id
    """
    payload = {
        "phase": phase,
        "role": role,
        "user": user,
        "choice": choice,
        "comment": comment,
        "fingerprint": fingerprint,
        **({"ticked": list(ticked)} if ticked else {}),
        **({"born": born} if born else {}),
    }
    key = f"{DECISION}/{release}/{environment}/{run_id}/{phase}/{role}/{user}/{at.timestamp():.6f}/{choice}"
    return NewEntry(DECISION, release, environment, run_id, user, payload, key=key, at=at)


def approval(
    entries: Iterable[Entry],
    *,
    phase: str,
    run_id: str,
    fingerprint: str,
    roles: Mapping[str, Sequence[str]],
    quorum: int = MINIMUM_QUORUM,
    triggered_by: str = "",
    deadline: datetime | None = None,
    delegated: Sequence[Delegation] = (),
    born: str = "",
    oldest: datetime | None = None,
) -> Approval | NotApproved:
    """Look for a valid Go.

    The last decision of each role counts. An answer of somebody who does not hold the role is no decision.
    After the deadline nobody can say Go any more; a No-Go still stops what has not happened yet.

    :param roles: role → the users who may decide for it; every role is needed
    :param quorum: distinct people needed; never fewer than two
    :param triggered_by: who started the run; cannot be the only one to decide
    :param delegated: who was named to speak for a role, too
    :param born: what tells the run from another one under its id
    :param oldest: a Go from before has lapsed; None: its age plays no part
    """
    standing, ignored = _standing(_in_order(entries, phase, run_id, born), roles, deadline, delegated)
    refusals = [given for given in standing.values() if given.choice != GO]
    if refusals:
        return NotApproved("; ".join(_refusal(given) for given in refusals), refused=True)
    missing = _missing(standing, roles, fingerprint)
    missing += [_too_old(given, oldest) for given in standing.values() if oldest and given.lapsed(oldest)]
    if not missing:
        missing = _people_missing(standing.values(), max(quorum, MINIMUM_QUORUM), triggered_by)
    if missing:
        return NotApproved("; ".join([*missing, *ignored]))
    return Approval(phase, run_id, fingerprint, tuple(standing[role] for role in roles))


def standing(
    entries: Iterable[Entry],
    *,
    phase: str,
    run_id: str,
    roles: Mapping[str, Sequence[str]],
    delegated: Sequence[Delegation] = (),
    born: str = "",
) -> dict[str, Decision]:
    """The last decision of each role, by somebody who may speak for it."""
    return _standing(_in_order(entries, phase, run_id, born), roles, None, delegated)[0]


def _too_old(given: Decision, oldest: datetime) -> str:
    return (
        f"{given.user}'s Go for {given.role} of {given.at:%Y-%m-%d %H:%M} UTC has lapsed: none from before "
        f"{oldest:%Y-%m-%d %H:%M} UTC counts now"
    )


def _in_order(entries: Iterable[Entry], phase: str, run_id: str, born: str) -> list[Decision]:
    own = (entry for entry in entries if entry.payload.get("born", "") == born)
    return sorted(_decisions(own, phase, run_id), key=lambda given: given.sequence)


def _decisions(entries: Iterable[Entry], phase: str, run_id: str) -> Iterable[Decision]:
    for entry in entries:
        payload = entry.payload
        if entry.kind != DECISION or entry.run_id != run_id or payload.get("phase") != phase:
            continue
        yield Decision(
            role=str(payload.get("role", "")),
            user=str(payload.get("user", "")),
            choice=str(payload.get("choice", "")),
            comment=str(payload.get("comment", "")),
            fingerprint=str(payload.get("fingerprint", "")),
            at=entry.at,
            sequence=entry.sequence,
        )


def _standing(
    decisions: Iterable[Decision],
    roles: Mapping[str, Sequence[str]],
    deadline: datetime | None,
    delegated: Sequence[Delegation],
) -> tuple[dict[str, Decision], list[str]]:
    standing: dict[str, Decision] = {}
    ignored: list[str] = []
    for given in decisions:
        own = roles.get(given.role, ())
        named = delegate_of(given.role, delegated, before=given.sequence) if own else None
        if given.user not in (*own, named):
            ignored.append(f"{given.user} answered for {given.role or 'no role'} without holding it: not counted")
        elif given.choice == GO and deadline is not None and given.at > deadline:
            ignored.append(f"{given.user}'s Go for {given.role} came after the deadline {deadline.isoformat()}")
        else:
            standing[given.role] = given
    return standing, ignored


def _refusal(given: Decision) -> str:
    said = NO_GO if given.choice == NO_GO else f"neither Go nor No-Go ({given.choice!r})"
    comment = f": {given.comment}" if given.comment else ""
    return f"{given.user} said {said} for {given.role}{comment}"


def _missing(standing: Mapping[str, Decision], roles: Mapping[str, Sequence[str]], fingerprint: str) -> list[str]:
    if not roles:
        return ["the gate names no role that could decide"]
    missing = [
        f"no Go from {role} ({' or '.join(users) or 'nobody holds this role'})"
        for role, users in roles.items()
        if role not in standing
    ]
    if not fingerprint:
        missing.append("the fingerprint of what is about to happen is empty")
    missing.extend(
        f"{given.user}'s Go for {given.role} was for {_short(given.fingerprint)}, "
        f"but now it would be {_short(fingerprint)}: something that was approved has changed"
        for given in standing.values()
        if given.fingerprint != fingerprint
    )
    return missing


def _people_missing(given: Iterable[Decision], quorum: int, triggered_by: str) -> list[str]:
    names = sorted({decision.user for decision in given})
    people = {identity(name) for name in names}
    missing = []
    if len(people) < quorum:
        missing.append(f"only {', '.join(names)} decided; {quorum} people are needed")
    if people <= {identity(triggered_by)}:
        missing.append(f"nobody but {triggered_by}, who started the run, decided")
    return missing


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("sha256:")[:SHORT_HASH] or "nothing"
