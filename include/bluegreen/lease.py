"""Whose turn it is: one release per environment at a time, by a Lease (DESIGN, invariant 8).

The Lease is a ticket, not the fence: it keeps a second release from beginning. What keeps a stalled one from
moving the traffic is the release id on the traffic Service (:mod:`include.bluegreen.fence`). So going forward
waits for the Lease, and switching back never looks at it.

The server never lets a Lease expire (FACTS, Lease as a lock): its times are compared here, with ``now`` passed in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from include.errors import EnvironmentHeld

STARTED_BY: Final = "stellwerk.io/started-by"
TAKEN_OVER: Final = "stellwerk.io/taken-over"

SLACK_SECONDS: Final = 600.0
"""Beside the gate nobody renews while a dead worker is noticed (300 s), its task is queued again and starts."""

RENEW_SECONDS: Final = 30.0
"""Longest pause between two renewals by a step that runs."""


def lease_seconds(gate_timeout_seconds: float) -> int:
    """How long a Lease lasts without being renewed: people may decide for so long while no task runs."""
    return int(gate_timeout_seconds + SLACK_SECONDS + 0.5)


@dataclass(frozen=True)
class LeaseState:
    """A Lease as it was read, or as it is to be written.

    :param holder: release id of who holds it; None when nobody does
    :param acquired_at: since when, None when it does not say
    :param renewed_at: when the holder last said that it lives, None when it does not say
    :param duration_seconds: how long that is worth, None when it does not say
    :param transitions: how often it went from one holder to another
    :param resource_version: the version that was read; empty for one that is to be created
    :param uid: which of several Leases of this name it is
    """

    name: str
    holder: str | None
    acquired_at: datetime | None
    renewed_at: datetime | None
    duration_seconds: int | None
    transitions: int = 0
    resource_version: str = ""
    uid: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def expires_at(self) -> datetime | None:
        """When it expires unless it is renewed; None when it does not say, and then it never does by itself."""
        if self.renewed_at is None or self.duration_seconds is None:
            return None
        return self.renewed_at + timedelta(seconds=self.duration_seconds)

    def expired(self, now: datetime) -> bool:
        """Whether its holder has not renewed it in time."""
        return self.expires_at is not None and self.expires_at < now

    def describe(self) -> str:
        """Who holds it, started by whom, since when and until when."""
        who = _named(self.holder) if self.holder else "nobody"
        by = self.annotations.get(STARTED_BY)
        return ", ".join(
            (
                f"held by {who}",
                *((f"started by {by}",) if by else ()),
                f"since {_told(self.acquired_at)}",
                f"last renewed {_told(self.renewed_at)}",
                f"expires {_told(self.expires_at)}",
            )
        )


@dataclass(frozen=True)
class Terms:
    """Under what a release holds an environment.

    :param name: of the Lease
    :param started_by: who triggered the run, for whoever is refused meanwhile
    """

    name: str
    release_id: str
    started_by: str
    duration_seconds: int


@dataclass(frozen=True)
class Acquire:
    """Nobody holds it."""


@dataclass(frozen=True)
class Renew:
    """It is held by this release, expired or not: nobody else has taken it."""


@dataclass(frozen=True)
class TakeOver:
    """Another release holds it and is to lose it.

    :param from_whom: release id of who holds it
    :param because: its time is up, or a human said so
    :param reason: what is recorded
    """

    from_whom: str
    because: Literal["expired", "override"]
    reason: str


@dataclass(frozen=True)
class HeldByOther:
    """Another release holds it."""

    lease: LeaseState
    expired: bool

    def error(self) -> EnvironmentHeld:
        """The refusal as an exception."""
        if self.expired:
            remedy = "start a new run: its preflight takes an expired Lease over and records why"
        else:
            remedy = (
                "wait until that release has ended, or roll it back; for a hotfix that cannot wait, start a new "
                "run with override_reason"
            )
        return EnvironmentHeld(
            f"the environment is {self.lease.describe()}",
            expected=f"Lease {self.lease.name} held by nobody or by this release",
            seen=f"holder {self.lease.holder}",
            remedy=remedy,
        )


Decision = Acquire | Renew | TakeOver | HeldByOther


def decide(
    lease: LeaseState | None,
    release_id: str,
    *,
    now: datetime,
    may_take_over: bool = False,
    override_reason: str = "",
) -> Decision:
    """What a release that wants to act may do with the Lease.

    :param lease: as observed, None when there is none
    :param may_take_over: whether it may take over what has expired; only the beginning of a run does, so that a
        step of an old run never takes the environment away from anybody
    :param override_reason: why an unexpired one is to be taken over, in a human's words; empty: it is not
    """
    if lease is None or lease.holder is None:
        return Acquire()
    if lease.holder == release_id:
        return Renew()
    if not may_take_over:
        return HeldByOther(lease, lease.expired(now))
    if override_reason:
        return TakeOver(lease.holder, "override", override_reason)
    if lease.expired(now):
        return TakeOver(lease.holder, "expired", f"it was not renewed in time: {lease.describe()}")
    return HeldByOther(lease, expired=False)


def acquired(lease: LeaseState | None, terms: Terms, now: datetime) -> LeaseState:
    """The Lease as a release writes it that found it free."""
    return replace(
        lease or LeaseState(terms.name, None, None, None, None),
        holder=terms.release_id,
        acquired_at=now,
        renewed_at=now,
        duration_seconds=terms.duration_seconds,
        annotations={STARTED_BY: terms.started_by},
    )


def renewed(lease: LeaseState, terms: Terms, now: datetime) -> LeaseState:
    """The Lease as its holder writes it to say that it lives.

    :raises ValueError: another release holds it: who lost it never renews it
    """
    if lease.holder != terms.release_id:
        raise ValueError(f"{terms.release_id} does not hold Lease {lease.name}: {lease.holder}")
    return replace(lease, renewed_at=now, duration_seconds=terms.duration_seconds)


def taken_over(lease: LeaseState, how: TakeOver, terms: Terms, now: datetime) -> LeaseState:
    """The Lease as it is written by who takes it over; it carries from whom and why, in the same write."""
    account = json.dumps(taken_over_account(lease, how), ensure_ascii=True, sort_keys=True)
    return replace(
        acquired(lease, terms, now),
        transitions=lease.transitions + 1,
        annotations={STARTED_BY: terms.started_by, TAKEN_OVER: account},
    )


def taken_over_account(lease: LeaseState, how: TakeOver) -> dict[str, Any]:
    """From whom a Lease is taken, since when it was held, and why: what the ledger records."""
    return {
        "from": how.from_whom,
        "because": how.because,
        "reason": how.reason,
        "held_since": _told(lease.acquired_at),
        "last_renewed": _told(lease.renewed_at),
        "expires": _told(lease.expires_at),
        "started_by": lease.annotations.get(STARTED_BY, ""),
    }


def account_of(lease: LeaseState) -> dict[str, Any] | None:
    """What the Lease tells of how its holder took it over; None when it did not, or when it cannot be read."""
    try:
        account = json.loads(lease.annotations.get(TAKEN_OVER, ""))
    except ValueError:
        return None
    return account if isinstance(account, dict) and isinstance(account.get("from"), str) else None


def _named(release_id: str) -> str:
    version, at, rest = release_id.partition("@")
    _, slash, run_id = rest.partition("/")
    return f"release {version}, run {run_id}" if at and slash and run_id else release_id


def _told(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else "unknown"
