"""Owns local copies of what the API server holds: list once, then watch, and list again when that breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

from include.errors import ClusterError, ClusterRefused
from include.sandbox.node.api import Api, JsonObject

_log = logging.getLogger(__name__)

Key = tuple[str, str]
WATCH_SECONDS: Final = 300
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


def key_of(item: JsonObject) -> Key:
    """Namespace and name."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class _Expired(Exception):
    """The version to watch from is no longer known (410 Gone)."""


class Mirror:
    """A copy of one collection, kept up to date by :meth:`run`.

    :param on_change: called with (old, new) for each difference; old is None for what appeared, new for what went.
        It is called in the event loop, must not block, and after a new list it sees only real differences.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        on_change: Callable[[JsonObject | None, JsonObject | None], None],
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._api = api
        self._path = path
        self._on_change = on_change
        self._parameters = dict(parameters or {})
        self.items: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Mirror for ever; outages of the API server are waited out."""
        pause = _FIRST_PAUSE
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                    self.synced.set()
                version = await self._follow(version)
                pause = _FIRST_PAUSE
            except _Expired:
                version = ""
            except ClusterError as problem:
                _log.warning("%s", problem)
                # What changed during an outage is only found by a new list.
                version = ""
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _list(self) -> str:
        answer = await self._api.request("GET", self._path, parameters=self._parameters, timeout_seconds=30)
        kind = str(answer.get("kind", "")).removesuffix("List")
        found = {key_of(item): {"kind": kind, **item} for item in answer.get("items") or []}
        for key in [key for key in self.items if key not in found]:
            self._apply(key, None)
        for key, item in found.items():
            self._apply(key, item)
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> str:
        parameters = {**self._parameters, "resourceVersion": version}
        try:
            async with aclosing(self._api.watch(self._path, parameters, seconds=WATCH_SECONDS)) as events:
                async for event in events:
                    version = self._event(event) or version
        except ClusterRefused as problem:
            if problem.status == 410:
                raise _Expired from problem
            raise
        return version

    def _event(self, event: JsonObject) -> str:
        item = event["object"]
        if event["type"] == "ERROR":
            if item.get("code") == 410:
                raise _Expired
            raise ClusterRefused("the watch ended with an error", seen=str(item.get("message")))
        if event["type"] != "BOOKMARK":
            self._apply(key_of(item), None if event["type"] == "DELETED" else item)
        return str(item["metadata"]["resourceVersion"])

    def _apply(self, key: Key, new: JsonObject | None) -> None:
        old = self.items.get(key)
        if new is None:
            self.items.pop(key, None)
        else:
            self.items[key] = new
        if _identity(old) != _identity(new):
            self._on_change(old, new)


def _identity(item: JsonObject | None) -> tuple[str, str] | None:
    return (item["metadata"]["uid"], item["metadata"]["resourceVersion"]) if item else None
