"""What may be done to a slot: deploy into it, drain it, clean it up. None of it ever touches a slot users need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.bluegreen.decisions import Decision, Permitted, Refused
from include.bluegreen.fence import last_switch
from include.bluegreen.slots import Slot, other
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import SETTLE_SECONDS, observe_own
from include.errors import AdoptionRefused, ReleaseFenced
from include.plan.models import Traffic


@dataclass(frozen=True)
class Lingering:
    """What still reaches a slot that takes no traffic.

    :param endpoints: its pods that are endpoints of the traffic Service
    :param requests: answered within ``seconds``, health endpoints left out
    :param streams: open event streams
    :param unreadable: why pods that are ready do not tell, one sentence each
    """

    endpoints: tuple[str, ...] = ()
    requests: int = 0
    streams: int = 0
    seconds: float = 0.0
    unreadable: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What was seen, for humans."""
        seen = f"{self.requests} request(s) within {self.seconds:.1f} s, {self.streams} open stream(s)"
        parts = (
            *((f"endpoint(s) of the traffic Service: {', '.join(self.endpoints)}",) if self.endpoints else ()),
            seen,
            *self.unreadable,
        )
        return "; ".join(parts)


def target_slot(service: ServiceState, active: Slot, release_id: str) -> Slot:
    """The slot a release goes to: the idle one, and still the same one after its own cutover made it active."""
    switch = last_switch(service)
    if switch is None or switch.release != release_id:
        return other(active)
    return switch.to if switch.direction == "forward" else other(switch.to)


def may_deploy(service: ServiceState | None, traffic: Traffic, slot: Slot, *, release_id: str) -> Decision:
    """Whether the release may install itself into ``slot``.

    Never into the active slot, and never again after its cutover: the idle slot is then the way back.
    """
    replaced = "deploying into it would replace what users reach"
    found = _ours_and_idle(service, traffic, slot, release_id, replaced)
    if isinstance(found, Refused):
        return found
    if refusal := still_adopted(traffic, slot):
        return refusal
    switch = last_switch(found)
    if switch and switch.release == release_id:
        return Refused(
            f"this release was cut over at {switch.at.isoformat()}: {slot} must stay as it is",
            kind=ReleaseFenced,
            remedy="start a new release",
        )
    return Permitted()


def still_adopted(traffic: Traffic, slot: Slot) -> Refused | None:
    """The refusal to release into a slot that is the adopted installation: it is not Stellwerk's to replace."""
    if traffic.legacy is None or traffic.legacy.slot != slot:
        return None
    return Refused(
        f"slot {slot} is still the adopted installation (Deployment {traffic.legacy.deployment})",
        kind=AdoptionRefused,
        expected="a clean-up of the release that left it",
        seen=f"adopted at {traffic.legacy.at}",
        remedy="clear clean_up in that release's run; it deletes the old Deployment and frees the slot",
    )


def may_drain(
    service: ServiceState | None, traffic: Traffic, slot: Slot, *, release_id: str, now: datetime
) -> Decision:
    """Whether the connections that stayed open on ``slot`` may be moved by restarting its pods.

    New connections must have stopped going there, which takes a moment after the switch.
    """
    found = _ours_and_idle(service, traffic, slot, release_id, "it cannot be drained")
    if isinstance(found, Refused):
        return found
    switch = last_switch(found)
    if switch and 0 <= (now - switch.at).total_seconds() < SETTLE_SECONDS:
        return Refused(
            f"new connections may still reach {slot}",
            expected=f"{SETTLE_SECONDS:g} s since the switch at {switch.at.isoformat()}",
            remedy="wait, then try again",
        )
    return Permitted()


def may_clean_up(
    service: ServiceState | None, traffic: Traffic, slot: Slot, *, release_id: str, watch_passed: bool
) -> Decision:
    """Whether ``slot`` may be scaled to zero or uninstalled: nobody needs it any more, not even to switch back.

    :param watch_passed: whether the ledger says that the release's watch has passed (or was accepted by a human)
    """
    found = _ours_and_idle(service, traffic, slot, release_id, "cleaning it up would take production down")
    if isinstance(found, Refused):
        return found
    if not watch_passed:
        return Refused(
            f"{slot} is the way back until the watch has passed",
            expected="a passed (or accepted) watch in the ledger",
            seen="none",
            remedy="let the watch end, or accept it with a reason",
        )
    switch, active = last_switch(found), other(slot)
    if switch is None or (switch.release, switch.direction, switch.to) != (release_id, "forward", active):
        return Refused(
            f"traffic did not come to {active} by this release's own cutover",
            kind=ReleaseFenced,
            expected=f"a cutover of release {release_id} to {active} as the last switch",
            seen=switch.encode() if switch else "no switch on record",
            remedy=f"find out who moved the traffic; clean up {slot} by hand when nobody needs it",
        )
    return Permitted()


def may_retire(lingering: Lingering, slot: Slot, drain: Literal["restart", "leave"]) -> Decision:
    """Whether the pods of ``slot`` may end: nobody reaches them any more, or the plan leaves whoever does."""
    if lingering.endpoints:
        refusal = "pods of it are endpoints of the traffic Service"
    elif drain == "leave":
        return Permitted(warning=f"{slot} ends with what lingers on it: {lingering.sentence}")
    elif lingering.requests or lingering.streams:
        refusal = "somebody still reaches it"
    elif lingering.unreadable:
        refusal = "whether anybody still reaches it is not known"
    else:
        return Permitted()
    return Refused(
        f"{slot} is not cleaned up: {refusal}",
        expected="no endpoint of the traffic Service, no request, no open stream",
        seen=lingering.sentence,
        remedy="find out who does (its own Service, a pod's address, an open connection), then clear this task",
    )


def _ours_and_idle(
    service: ServiceState | None, traffic: Traffic, slot: Slot, release_id: str, consequence: str
) -> ServiceState | Refused:
    """The traffic Service, the release's own, sending nobody to ``slot``; or why nothing may be done to that.

    :param consequence: of doing it to the slot that users need
    """
    observed = observe_own(service, traffic, release_id)
    if isinstance(observed, Refused):
        return observed
    service, active = observed
    return _takes_traffic(slot, consequence) if slot == active else service


def _takes_traffic(slot: Slot, consequence: str) -> Refused:
    return Refused(
        f"{slot} is the active slot: {consequence}",
        expected=f"Service selector naming {other(slot)}",
        seen=f"selector naming {slot}",
        remedy="nothing was changed; find out why the slots were mistaken for each other",
    )
