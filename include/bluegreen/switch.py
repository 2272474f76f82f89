"""The only place where the traffic moves, and what has to hold before it may.

A switch is one JSON patch that tests what was observed and replaces the whole selector. The API server applies it
completely or not at all; a refused patch means "observe again, decide again", never "try the same again".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from include.bluegreen.capacity import pinned_minimum, required_endpoints, usable_endpoints
from include.bluegreen.decisions import AlreadyThere, Decision, Permitted, Refused, fenced
from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch, annotation_path, last_switch, release_id
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import Endpoint, HpaState, ServiceState
from include.errors import NotEnoughEndpoints, ReleaseFenced, TrafficError, UnknownSelector
from include.plan.models import Traffic

__all__ = [
    "SETTLE_SECONDS", "Patch", "back_and_forth", "check_back", "check_claim", "check_forward", "claim_patch",
    "left_before", "not_ours", "observe", "pinned_minimum", "required_endpoints", "switch_patch",
    "usable_endpoints",
]  # fmt: skip

Patch = list[dict[str, Any]]

# Switches closer together than kube-proxy's minimum sync period coalesce; Services follow within about 1 s.
SETTLE_SECONDS: Final = 2.0


def switch_patch(
    service: ServiceState,
    *,
    selector: Mapping[str, str],
    to: Slot,
    release_id: str,
    by: str,
    reason: str,
    now: datetime,
    back: bool = False,
) -> Patch:
    """The compare-and-swap that replaces ``service``'s whole selector by ``selector``.

    It applies only while the selector, the release id and the last switch are those of ``service``. The last
    switch is tested because a process that slept through "there and back again" finds its selector unchanged.

    :param to: the slot that ``selector`` sends the traffic to
    :param back: whether the switch returns to the slot that was left
    :raises UnknownSelector: ``service`` was observed without a selector, which a patch could not test
    :raises ReleaseFenced: another release holds ``service``, or none does
    """
    if not service.selector:
        raise UnknownSelector(
            f"Service {service.name} has no selector",
            expected="the selector of one of the two slots",
            remedy="set the whole selector of the slot that is to take traffic by hand",
        )
    held_by = service.annotations.get(RELEASE_ID)
    if held_by != release_id:
        raise fenced(service.name, held_by, release_id).error()
    switch = LastSwitch(to, by, reason, now, release_id, "back" if back else "forward")
    return [
        {"op": "test", "path": "/spec/selector", "value": dict(service.selector)},
        {"op": "test", "path": annotation_path(RELEASE_ID), "value": release_id},
        # null passes only while the annotation is absent
        {"op": "test", "path": annotation_path(LAST_SWITCH), "value": service.annotations.get(LAST_SWITCH)},
        {"op": "replace", "path": "/spec/selector", "value": dict(selector)},
        {"op": "add", "path": annotation_path(LAST_SWITCH), "value": switch.encode()},
    ]


def claim_patch(service: ServiceState, release_id: str) -> Patch:
    """The compare-and-swap that puts ``release_id`` on ``service``; empty when it is there already.

    :raises UnknownSelector: ``service`` was observed without a selector
    """
    if not service.selector:
        raise UnknownSelector(f"Service {service.name} has no selector", expected="the selector of a slot")
    held_by = service.annotations.get(RELEASE_ID)
    if held_by == release_id:
        return []
    same_world = {"op": "test", "path": "/spec/selector", "value": dict(service.selector)}
    if not service.annotations:
        # Without the parent map nothing can be added below it; the test keeps one that appeared meanwhile.
        return [
            same_world,
            {"op": "test", "path": "/metadata/annotations", "value": None},
            {"op": "add", "path": "/metadata/annotations", "value": {RELEASE_ID: release_id}},
        ]
    return [
        same_world,
        {"op": "test", "path": annotation_path(RELEASE_ID), "value": held_by},
        {"op": "add", "path": annotation_path(RELEASE_ID), "value": release_id},
    ]


def check_claim(
    service: ServiceState | None, traffic: Traffic, release_id: str, *, holder_ended: bool
) -> Decision:
    """Whether a release may put its id on the traffic Service.

    :param holder_ended: whether the release whose id is there has ended (as the ledger tells); takes no part when
        the Service is free
    """
    observed = observe(service, traffic)
    if isinstance(observed, Refused):
        return observed
    service = observed[0]
    held_by = service.annotations.get(RELEASE_ID)
    if held_by == release_id:
        return AlreadyThere(f"Service {service.name} is held by release {release_id}")
    if held_by is not None and not holder_ended:
        refusal = fenced(service.name, held_by, release_id)
        return replace(refusal, remedy=f"{refusal.remedy}; for a hotfix, start a new run with override_reason")
    return Permitted()


def check_forward(
    service: ServiceState | None,
    preview: ServiceState | None,
    traffic: Traffic,
    target: Slot,
    *,
    release_id: str,
    endpoints: Iterable[Endpoint],
    replicas: int,
    active_ready: int,
    active_hpa: HpaState | None,
    now: datetime,
) -> Decision:
    """Whether the traffic may move to ``target`` now.

    :param endpoints: those of the preview Service
    :param replicas: the plan's number of pods; never fewer than ``active_ready`` are required
    :param active_ready: ready pods of the slot that would be left
    :param active_hpa: that slot's autoscaler, None when it has none
    """
    observed = observe_own(service, traffic, release_id)
    if isinstance(observed, Refused):
        return observed
    service, slot = observed
    if slot == target:
        return AlreadyThere(f"Service {service.name} sends traffic to {target}")
    switch = last_switch(service)
    if switch and switch.release == release_id:
        return left_before(service, target, switch)
    if switch and 0 <= (now - switch.at).total_seconds() < SETTLE_SECONDS:
        return Refused(f"the last switch was less than {SETTLE_SECONDS:g} s ago", remedy="wait, then try again")
    if preview is None or dict(preview.selector) != traffic.selector_for(target):
        return Refused(
            f"preview Service {traffic.preview_service} does not point at {target}: its endpoints prove nothing",
            expected=str(traffic.selector_for(target)),
            seen=str(dict(preview.selector)) if preview else "no such Service",
            remedy="deploy and verify the slot again",
        )
    if active_hpa and active_hpa.min_replicas < pinned_minimum(active_hpa, active_ready):
        return Refused(
            f"the slot to be left would shrink while idle: HPA {active_hpa.name} is not pinned",
            expected=f"minReplicas {pinned_minimum(active_hpa, active_ready)}",
            seen=f"minReplicas {active_hpa.min_replicas}",
            remedy="pin the autoscaler, then try again",
        )
    required = required_endpoints(replicas, active_ready)
    return _enough(target, usable_endpoints(endpoints, traffic.port), required)


def check_back(
    service: ServiceState | None, traffic: Traffic, target: Slot, *, release_id: str, ready: int, required: int
) -> Decision:
    """Whether the traffic may return to ``target`` now. The state of the slot being left plays no part.

    :param ready: usable endpoints (or ready pods) of ``target``
    :param required: how many it ought to have; with fewer it is switched all the same and humans are called
    """
    observed = observe_own(service, traffic, release_id, page=True)
    if isinstance(observed, Refused):
        return observed
    service, slot = observed
    if slot == target:
        return AlreadyThere(f"Service {service.name} sends traffic to {target}")
    if ready < 1:
        return Refused(
            f"{target} has no ready endpoint: switching back would take the application down",
            page=True,
            kind=NotEnoughEndpoints,
            expected="at least one ready endpoint",
            seen="none",
            remedy=f"bring pods of {target} up (or repair the active slot), then roll back again",
        )
    if ready < required:
        warning = f"{target} takes the traffic with {ready} ready endpoint(s) where {required} are required"
        return Permitted(warning=f"{warning}: scale it up now", page=True)
    return Permitted()


def observe(
    service: ServiceState | None, traffic: Traffic, *, page: bool = False
) -> tuple[ServiceState, Slot] | Refused:
    """The traffic Service and its active slot, or the refusal to act where there is none."""
    try:
        slot = active_slot(service, traffic)
    except TrafficError as error:
        return Refused.of(error, page=page)
    assert service is not None, "active_slot refuses a missing Service"
    return service, slot


def observe_own(
    service: ServiceState | None, traffic: Traffic, wanted: str, *, page: bool = False
) -> tuple[ServiceState, Slot] | Refused:
    """The same where the Service holds the release id ``wanted``; else the refusal of the run that wants it."""
    observed = observe(service, traffic, page=page)
    if isinstance(observed, Refused):
        return observed
    return not_ours(observed[0], wanted, page=page) or observed


def _enough(target: Slot, usable: int, required: int) -> Decision:
    if usable >= required:
        return Permitted()
    return Refused(
        f"{target} has too few ready endpoints to take the traffic",
        kind=NotEnoughEndpoints,
        expected=f"{required} ready endpoint(s) serving the port",
        seen=str(usable),
        remedy="wait until its pods are ready, or find out why they are not",
    )


def not_ours(service: ServiceState, wanted: str, *, page: bool = False) -> Refused | None:
    """The refusal of a run whose release id is not (or no longer) on the Service."""
    held_by = release_id(service)
    return None if held_by == wanted else fenced(service.name, held_by, wanted, page=page)


def left_before(service: ServiceState, target: Slot, switch: LastSwitch) -> Refused:
    """The refusal to cut a release over again after ``switch`` (its own) and a move away from ``target``."""
    how = f"switched back by {switch.by} ({switch.reason})" if switch.direction == "back" else "moved away by hand"
    return Refused(
        f"this release was cut over to {target} before and then {how}: a release is cut over once",
        kind=ReleaseFenced,
        expected=f"no earlier switch of release {switch.release}",
        seen=f"a switch at {switch.at.isoformat()} on Service {service.name}",
        remedy="mend what was wrong and start a new release",
    )


def back_and_forth(service: ServiceState, release: str) -> Refused | None:
    """The refusal to act by itself on a release that was switched back and then brought forward again by hand."""
    switch = last_switch(service)
    if switch is None or (switch.release, switch.direction) != (release, "back"):
        return None
    if switch.to in service.selector.values():
        return None
    return Refused(
        f"this release was switched back by {switch.by} ({switch.reason}), then the traffic was moved by hand",
        kind=ReleaseFenced,
        expected="the release's own cutover as the last switch",
        seen=f"a switch back at {switch.at.isoformat()} and another selector on Service {service.name}",
        remedy="whoever moved it decides; DAG rollback switches back when told to",
    )
