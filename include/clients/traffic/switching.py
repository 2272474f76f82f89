"""The one function through which the traffic Service's selector changes, and the proof that it did.

The change is a compare-and-swap over what was just observed (:mod:`include.bluegreen.switch` builds it). A refused
one leads back to observing: the world that is found then says who was there first.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from include.bluegreen.decisions import AlreadyThere, Refused, fenced
from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, last_switch
from include.bluegreen.fence import release_id as holder_of
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import back_and_forth, check_back, left_before, switch_patch
from include.clients.kubernetes import Cluster
from include.errors import ClusterRefused, ClusterUnreachable, PatchRefused, VerificationFailed
from include.plan.models import Traffic

log = logging.getLogger(__name__)

ATTEMPTS: Final = 4
NOT_FOUND: Final = 404
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True)
class SwitchResult:
    """How a switch ended well.

    :param changed: this call moved the traffic; otherwise it was there already
    :param service: the traffic Service as it was read back
    :param at: when the traffic was moved, as far as the Service tells
    :param noticed: what others did to the Service meanwhile, and warnings: sentences for the log
    :param page: humans have to look at it now
    """

    changed: bool
    service: ServiceState
    at: datetime
    noticed: tuple[str, ...] = ()
    page: bool = False


async def switch(
    cluster: Cluster,
    traffic: Traffic,
    *,
    target: Slot,
    release_id: str,
    by: str,
    reason: str,
    now: datetime,
    back: bool = False,
    required: int = 1,
    once: bool = False,
) -> SwitchResult:
    """Send the traffic to ``target``; the only function that does (DESIGN, invariant 1).

    What has to hold before going forward is the caller's to check; what has to hold before going back is checked
    here. An unanswered patch is settled by looking whether it arrived.

    :param release_id: the release that acts; it has to hold the Service
    :param back: return to the slot the release came from
    :param required: ready pods the target ought to have when going back; with fewer it is done all the same
    :param once: do not go back a second time, after somebody has brought the traffic forward again by hand
    :raises ReleaseFenced: another release holds the Service, or this one was cut over and moved back before
    :raises TrafficServiceMissing: there is no traffic Service
    :raises UnknownSelector: somebody made it name neither slot
    :raises NotEnoughEndpoints: going back, and nobody is there to take the traffic
    :raises PatchRefused: the change was refused although nothing had changed, or the Service never held still
    :raises ClusterUnreachable: no answer; whether the traffic moved is not known, calling again tells
    """
    attempt = _Attempt(cluster, traffic, target, release_id, back, required, once)
    failure: PatchRefused | ClusterUnreachable | None = None
    for number in range(ATTEMPTS):
        if number:
            await asyncio.sleep(_PAUSE_SECONDS)
        service = await attempt.observe(failure)
        if active_slot(service, traffic) == target:
            return attempt.arrived(service, by=by, reason=reason, now=now)
        await attempt.permit(service)
        patch = switch_patch(
            service,
            selector=traffic.selector_for(target),
            to=target,
            release_id=release_id,
            by=by,
            reason=reason,
            now=now,
            back=back,
        )
        try:
            patched = await cluster.patch_service(traffic.service, patch)
        except ClusterRefused as error:
            if error.status != NOT_FOUND:
                raise
            active_slot(await cluster.service(traffic.service), traffic)  # raises: deleted since it was looked at
            raise
        except (PatchRefused, ClusterUnreachable) as error:
            log.info("switch to %s, attempt %d: %s", target, number + 1, error)
            failure = error
            attempt.tested = service
            attempt.unanswered |= isinstance(error, ClusterUnreachable)
        else:
            return await attempt.proved(patched, now)
    assert failure is not None, "every attempt that neither returned nor raised has failed"
    raise failure


@dataclass
class _Attempt:
    """What is wanted, and what is remembered from one try to the next."""

    cluster: Cluster
    traffic: Traffic
    target: Slot
    release_id: str
    back: bool
    required: int
    once: bool = False
    tested: ServiceState | None = None
    unanswered: bool = False
    noticed: list[str] = field(default_factory=list)
    page: bool = False

    async def observe(self, failure: Exception | None) -> ServiceState:
        """The traffic Service, held by this release and naming one of the slots."""
        service = await self.cluster.service(self.traffic.service)
        if self.tested is not None and service is not None:
            self._notice(_difference(self.tested, service))
            if isinstance(failure, PatchRefused) and _guarded(self.tested) == _guarded(service):
                raise failure  # the world is as the patch tested it: it is the change that is refused
        slot = active_slot(service, self.traffic)
        assert service is not None, "active_slot refuses a missing Service"
        if (held_by := holder_of(service)) != self.release_id:
            raise fenced(service.name, held_by, self.release_id).error()
        recorded = last_switch(service)
        if recorded is not None and recorded.to != slot and self.tested is None:
            self._notice(
                f"the selector of Service {service.name} was changed by hand since the last switch "
                f"(to {recorded.to}, {recorded.at.isoformat()}, by {recorded.by}): it names {slot}"
            )
        return service

    async def permit(self, service: ServiceState) -> None:
        """Raise unless the switch may be made from this state."""
        recorded = last_switch(service)
        if self.once and (refusal := back_and_forth(service, self.release_id)):
            raise refusal.error()
        if not self.back:
            if recorded is not None and recorded.release == self.release_id:
                raise left_before(service, self.target, recorded).error()
            return
        pods = await self.cluster.pods(self.traffic.selector_for(self.target))
        ready = sum(pod.ready and not pod.deleting for pod in pods)
        decision = check_back(
            service,
            self.traffic,
            self.target,
            release_id=self.release_id,
            ready=ready,
            required=self.required,
        )
        if isinstance(decision, Refused):
            raise decision.error()
        if not isinstance(decision, AlreadyThere) and decision.warning:
            self.page |= decision.page
            self._notice(decision.warning)

    def arrived(self, service: ServiceState, *, by: str, reason: str, now: datetime) -> SwitchResult:
        """The traffic is where it is wanted: by an unanswered patch of ours, or by somebody else."""
        recorded = last_switch(service)
        told = recorded is not None and recorded.to == self.target
        ours = (
            self.unanswered
            and recorded is not None
            and told
            and (recorded.release, recorded.by, recorded.reason, recorded.at) == (self.release_id, by, reason, now)
        )
        if ours:
            self._notice("the answer to the switch was lost; reading the Service back shows that it was made")
        return self._result(service, changed=ours, at=recorded.at if recorded and told else now)

    async def proved(self, patched: ServiceState, now: datetime) -> SwitchResult:
        """Read the Service back: what counts is what it says after the switch."""
        try:
            service = await self.cluster.service(self.traffic.service)
        except ClusterUnreachable as error:
            self._notice(f"the switch was confirmed but could not be read back: {error}")
            return self._result(patched, changed=True, at=now)
        if service is None:
            active_slot(service, self.traffic)  # raises
        assert service is not None, "active_slot refuses a missing Service"
        if (held_by := holder_of(service)) != self.release_id:
            raise fenced(service.name, held_by, self.release_id).error()
        if dict(service.selector) != self.traffic.selector_for(self.target):
            raise VerificationFailed(
                f"Service {service.name} was switched to {self.target} and changed again at once",
                expected=str(self.traffic.selector_for(self.target)),
                seen=str(dict(service.selector)),
                remedy="find out who else changes it before trying again",
            )
        return self._result(service, changed=True, at=now)

    def _result(self, service: ServiceState, *, changed: bool, at: datetime) -> SwitchResult:
        return SwitchResult(changed, service, at, tuple(self.noticed), self.page)

    def _notice(self, sentence: str) -> None:
        if sentence and sentence not in self.noticed:
            log.warning("%s", sentence)
            self.noticed.append(sentence)


def _guarded(service: ServiceState) -> tuple[dict[str, str], str | None, str | None]:
    """What the patch tests."""
    return dict(service.selector), service.annotations.get(RELEASE_ID), service.annotations.get(LAST_SWITCH)


def _difference(before: ServiceState, after: ServiceState) -> str:
    changes = [
        f"{what} from {old or 'nothing'} to {new or 'nothing'}"
        for what, old, new in zip(
            ("selector", "release id", "last switch"), _guarded(before), _guarded(after), strict=True
        )
        if old != new
    ]
    return f"Service {after.name} changed between looking and switching: {', '.join(changes)}" if changes else ""
