"""A small model of what the API server does to a Service, and of two slots behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from include.bluegreen.fence import RELEASE_ID
from include.bluegreen.slots import Slot
from include.bluegreen.state import Endpoint, HpaState, ServiceState
from include.errors import PatchRefused
from include.plan.models import Traffic

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)

TRAFFIC = Traffic(
    service="valeo-erp",
    preview_service="valeo-erp-preview",
    selector={"app.kubernetes.io/name": "valeo-erp"},
    public_url="https://erp.example.com",
    preview_url="https://erp-green.example.com",
)


def service(slot: Slot = "blue", *, held_by: str | None = "r1", **annotations: str) -> ServiceState:
    own = {RELEASE_ID: held_by} if held_by else {}
    return ServiceState("valeo-erp", TRAFFIC.selector_for(slot), {**own, **annotations}, "1")


def preview(slot: Slot) -> ServiceState:
    return ServiceState("valeo-erp-preview", TRAFFIC.selector_for(slot))


def endpoints(count: int, *, port: str = "http") -> list[Endpoint]:
    return [
        Endpoint(f"pod-{n}", f"uid-{n}", ready=True, terminating=False, ports={port: 8080}) for n in range(count)
    ]


def apply_patch(state: ServiceState, patch: Iterable[dict[str, Any]]) -> ServiceState:
    """JSON patch as the API server applies it, its peculiarities included (FACTS: Cutover)."""
    maps = {"annotations": dict(state.annotations), "labels": dict(state.labels)}
    metadata = {name: content for name, content in maps.items() if content}
    document: dict[str, Any] = {"spec": {"selector": dict(state.selector)}, "metadata": metadata}
    for operation in patch:
        *parents, key = [_unescaped(part) for part in operation["path"].split("/")[1:]]
        place = document
        for parent in parents:
            if parent not in place:
                raise PatchRefused(f"missing path {operation['path']}")
            place = place[parent]
        match operation["op"]:
            case "test":
                if place.get(key) != operation["value"]:
                    raise PatchRefused(f"test of {operation['path']}", seen=str(place.get(key)))
            case "replace" | "add":  # replace of a missing map key adds it
                place[key] = operation["value"]
            case "remove":
                if key not in place:
                    raise PatchRefused(f"missing path {operation['path']}")
                del place[key]
            case unknown:
                raise PatchRefused(f"unknown op {unknown}")
    return replace(
        state,
        selector=document["spec"]["selector"],
        annotations=document["metadata"].get("annotations", {}),
        labels=document["metadata"].get("labels", {}),
    )


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


@dataclass
class SlotModel:
    size: int = 3
    ready: int = 3
    holds: str | None = None  # release id
    hpa_minimum: int = 3


@dataclass
class ClusterModel:
    service: ServiceState = field(default_factory=lambda: service("blue", held_by=None))
    preview: Slot = "green"
    slots: dict[Slot, SlotModel] = field(
        default_factory=lambda: {"blue": SlotModel(holds="legacy"), "green": SlotModel(size=0, ready=0)}
    )
    now: datetime = START

    def tick(self, seconds: float = 3.0) -> None:
        self.now += timedelta(seconds=seconds)

    def hpa(self, slot: Slot) -> HpaState:
        return HpaState(f"valeo-erp-{slot}", f"valeo-erp-{slot}", self.slots[slot].hpa_minimum, 10)
