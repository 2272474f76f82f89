"""The order of a release's steps as the DAG has it, for the state machine of ``test_releases``.

The world wins over the record: a release that finds itself cut over does not cut over again because a record is
missing, and one that finds itself back on the old slot never goes forward again. Whatever process died where,
asking again gives the next step that is still due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.slots import Slot, active_slot, other
from include.bluegreen.state import ServiceState
from include.plan.models import Traffic

StepName = Literal[
    "claim",
    "deploy",
    "verify",
    "cutover",
    "drain",
    "watch",
    "cleanup",
    "verification",
    "rolled-back",
    "fenced",
    "done",
]


@dataclass(frozen=True)
class Goal:
    """A release (its id, the fence) that is to take the traffic in ``slot``."""

    release_id: str
    slot: Slot


@dataclass(frozen=True)
class Progress:
    """What is known to be done for the release: from its record, and ``deployed`` and ``verified`` checked anew.

    :param claimed: whether the release has ever held the Service; a fence that is gone then was taken over
    """

    claimed: bool = False
    deployed: bool = False
    verified: bool = False
    drained: bool = False
    watch_passed: bool = False
    cleaned_up: bool = False
    verified_after: bool = False


@dataclass(frozen=True)
class Step:
    """The next step and why it is due. ``rolled-back``, ``fenced`` and ``done`` end the release."""

    name: StepName
    reason: str


def next_step(service: ServiceState | None, traffic: Traffic, goal: Goal, progress: Progress) -> Step:
    """The next step of the release.

    :raises TrafficServiceMissing: there is no traffic Service
    :raises UnknownSelector: it names neither slot
    """
    active = active_slot(service, traffic)
    assert service is not None, "active_slot refuses a missing Service"
    held_by = release_id(service)
    if held_by != goal.release_id:
        if progress.claimed:
            return Step("fenced", f"Service {service.name} was taken over by release {held_by or '(none)'}")
        return Step("claim", f"Service {service.name} is held by {held_by or 'no release'}")
    switch = last_switch(service)
    ours = switch is not None and switch.release == goal.release_id
    if active == goal.slot:
        return _after_cutover(goal, progress)
    if ours and switch is not None:
        how = f"by {switch.by}: {switch.reason}" if switch.direction == "back" else "by hand"
        return Step("rolled-back", f"traffic is on {active} again, moved {how}")
    if not progress.deployed:
        return Step("deploy", f"{goal.slot} does not hold the release yet")
    if not progress.verified:
        return Step("verify", f"{goal.slot} holds the release, unproven")
    return Step("cutover", f"{goal.slot} is verified, traffic is on {active}")


def _after_cutover(goal: Goal, progress: Progress) -> Step:
    old = other(goal.slot)
    if not progress.drained:
        return Step("drain", f"traffic is on {goal.slot}, open connections may still be on {old}")
    if not progress.watch_passed:
        return Step("watch", f"traffic is on {goal.slot}, unproven over time")
    if not progress.cleaned_up:
        return Step("cleanup", f"the watch has passed, {old} is no longer needed")
    if not progress.verified_after:
        return Step("verification", f"{old} is cleaned up")
    return Step("done", f"{goal.slot} serves the release")
