"""Which slot takes traffic, read from the traffic Service's whole selector."""

from __future__ import annotations

from collections.abc import Mapping

from include.bluegreen.state import ServiceState
from include.errors import TrafficServiceMissing, UnknownSelector
from include.plan.models import Traffic
from include.plan.slots import SLOTS, Slot, other

__all__ = ["SLOTS", "Slot", "active_slot", "other"]


def active_slot(service: ServiceState | None, traffic: Traffic) -> Slot:
    """The slot the traffic Service names.

    :raises TrafficServiceMissing: there is no such Service
    :raises UnknownSelector: its selector is not exactly the plan's selector plus one of the two slots
    """
    if service is None:
        raise TrafficServiceMissing(
            f"traffic Service {traffic.service} not found",
            expected=f"a Service with selector {_text(traffic.selector_for('blue'))} (or green)",
            remedy="create it once, outside of any Helm release, pointing at the slot that is live",
        )
    for slot in SLOTS:
        if dict(service.selector) == traffic.selector_for(slot):
            return slot
    raise UnknownSelector(
        f"the selector of Service {service.name} names neither slot",
        expected=f"{_text(traffic.selector_for('blue'))} or {_text(traffic.selector_for('green'))}",
        seen=_text(service.selector) or "no selector",
        remedy="find out who changed it, then set the whole selector to the slot that is to take traffic",
    )


def _text(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
