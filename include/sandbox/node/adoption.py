"""Owns what is concluded about a container from an earlier node program's traces; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from include.sandbox.node.runtime import Exit, Running
from include.sandbox.node.status import ended_reason
from include.sandbox.node.views import ContainerView, Ended, Started

_UNKNOWN: Final = 137


@dataclass(frozen=True, slots=True)
class Adopted:
    """A container as it is found.

    :param alive: the start that still runs, None when none does
    :param number: how many starts came before the newest one
    """

    view: ContainerView
    alive: Running | None = None
    number: int = 0


def end_of(running: Running, how: Exit, message: str = "") -> Ended:
    """How a start of a container ended, as statuses tell it."""
    reason = ended_reason(code=how.code, out_of_memory=how.out_of_memory)
    return Ended(how.code, reason, running.started_at, how.finished_at, running.container, message, how.signal)


def adopt(view: ContainerView, records: Sequence[Running], status: Mapping[str, Any], now: float) -> Adopted:
    """Take over what the keeper still has of a container, or what the API server remembers of it.

    :param view: the container as if it had never been started
    :param records: all starts the keeper knows
    :param status: what the API server shows, empty for nothing
    """
    if not records:
        return _remembered(view, status, now)
    *earlier, newest = sorted(records, key=lambda one: int(one.labels["attempt"]))
    number = int(newest.labels["attempt"])
    last = next((end_of(one, one.exit) for one in reversed(earlier) if one.exit is not None), None)
    view = replace(
        view, image_id=newest.labels["image_id"], container_id=newest.container, restarts=number, last=last
    )
    if newest.exit is not None:
        return Adopted(replace(view, state=end_of(newest, newest.exit)), None, number)
    kept = str(status.get("containerID", "")).endswith(newest.container)
    started, ready = (bool(kept and status.get(key)) for key in ("started", "ready"))
    view = replace(view, state=Started(newest.started_at), started=started, ready=ready)
    return Adopted(view, newest, number)


def _remembered(view: ContainerView, status: Mapping[str, Any], now: float) -> Adopted:
    """The API server remembers a start of which nothing is left, as after a reboot."""
    if not status.get("containerID"):
        return Adopted(view)
    number = int(status.get("restartCount", 0))
    identity = str(status["containerID"]).rpartition("//")[2]
    ended = Ended(_UNKNOWN, "ContainerStatusUnknown", now, now, identity)
    known = (status.get("state") or {}).get("terminated")
    if known:
        ended = replace(ended, code=known["exitCode"], reason=known["reason"])
    return Adopted(replace(view, state=ended, container_id=identity, restarts=number), None, number)
