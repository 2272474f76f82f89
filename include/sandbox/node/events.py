"""Owns the Events the node writes: what `kubectl describe` shows about its pods and Services.

Writing never delays a pod: Events wait in a queue, equal ones become one with a count, and an object that
repeats itself for ever is slowed down as kubelet does it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from include.errors import ClusterError, ClusterRefused
from include.sandbox.node.api import Api, JsonObject
from include.sandbox.node.registration import rfc3339

_log = logging.getLogger(__name__)
_BURST: Final = 25.0
_REFILL_PER_SECOND: Final = 1 / 12
_REMEMBERED: Final = 4096

Key = tuple[str, str, str, str, str]


@dataclass
class _Written:
    """An Event that may repeat: its name in the API once it is there."""

    first: str
    count: int = 0
    name: str = ""


@dataclass
class _Allowance:
    """How many Events about one object may still be written."""

    left: float = _BURST
    at: float = field(default_factory=time.monotonic)

    def take(self, now: float) -> bool:
        self.left = min(_BURST, self.left + (now - self.at) * _REFILL_PER_SECOND)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def reference(item: Mapping[str, Any], container: str | None = None) -> JsonObject:
    """What an Event is about; for a pod's container, its name."""
    metadata = item["metadata"]
    result = {
        "apiVersion": "v1",
        "kind": item.get("kind", "Pod"),
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion"),
    }
    if container is not None:
        result["fieldPath"] = f"spec.containers{{{container}}}"
    return result


class Recorder:
    """Writes Events in the order they were recorded."""

    def __init__(self, api: Api, node_name: str) -> None:
        self._api = api
        self._node = node_name
        self._queue: asyncio.Queue[tuple[JsonObject, str, str, str]] = asyncio.Queue()
        self._written: dict[Key, _Written] = {}
        self._allowances: dict[str, _Allowance] = {}

    def normal(self, item: Mapping[str, Any], reason: str, message: str, *, container: str | None = None) -> None:
        """Something that is as it should be."""
        self._queue.put_nowait((reference(item, container), "Normal", reason, message))

    def warning(self, item: Mapping[str, Any], reason: str, message: str, *, container: str | None = None) -> None:
        """Something a human may have to look at."""
        self._queue.put_nowait((reference(item, container), "Warning", reason, message))

    async def run(self) -> None:
        """Write for ever; what the API server does not take is logged and dropped."""
        while True:
            about, kind, reason, message = await self._queue.get()
            allowance = self._allowances.setdefault(about["uid"], _Allowance())
            if not allowance.take(time.monotonic()):
                continue
            try:
                await self._write(about, kind, reason, message)
            except ClusterError as problem:
                _log.warning("event %s about %s: %s", reason, about["name"], problem)
            self._forget()

    async def _write(self, about: JsonObject, kind: str, reason: str, message: str) -> None:
        now = rfc3339(dt.datetime.now(dt.UTC))
        key = (about["uid"], about.get("fieldPath", ""), kind, reason, message)
        written = self._written.setdefault(key, _Written(first=now))
        written.count += 1
        path = f"/api/v1/namespaces/{about['namespace']}/events"
        if written.name:
            try:
                await self._api.patch(f"{path}/{written.name}", {"count": written.count, "lastTimestamp": now})
                return
            except ClusterRefused:
                written.name = ""  # it expired: write it anew
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about['name']}.{time.time_ns():x}", "namespace": about["namespace"]},
            "involvedObject": about,
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": written.first,
            "lastTimestamp": now,
            "count": written.count,
        }
        written.name = (await self._api.post(path, event))["metadata"]["name"]

    def _forget(self) -> None:
        while len(self._written) > _REMEMBERED:
            self._written.pop(next(iter(self._written)))
        while len(self._allowances) > _REMEMBERED:
            self._allowances.pop(next(iter(self._allowances)))
