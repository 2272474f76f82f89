"""Owns all pods of the node: takes new ones, adopts old ones, gives addresses, forgets what is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

from include.sandbox.addresses import pod_addresses
from include.sandbox.node.api import JsonObject
from include.sandbox.node.ending import end
from include.sandbox.node.launch import log_path
from include.sandbox.node.pod import FORCED_SECONDS, Pod
from include.sandbox.node.pod_object import delete_now
from include.sandbox.node.runtime import Exit, KeeperLost, Running
from include.sandbox.node.tools import PodScope, Tools

_log = logging.getLogger(__name__)
_WORK: Final = ".work"
_RETRY_SECONDS: Final = 0.5
_TERMINAL: Final = ("Succeeded", "Failed")


class AddressPool:
    """The addresses of the node's pod subnet; one that was given back is used again as late as possible."""

    def __init__(self, subnet: int) -> None:
        self._free = deque(pod_addresses(subnet))

    def take(self, wanted: str = "") -> str:
        """The wanted address if it is free, else the one that has been free the longest.

        :raises IndexError: all are in use
        """
        if wanted in self._free:
            self._free.remove(wanted)
            return wanted
        return self._free.popleft()

    def give_back(self, address: str) -> None:
        """A pod no longer needs its address."""
        self._free.append(address)


class Pods:
    """The pods assigned to this node."""

    def __init__(self, tools: Tools, records: Sequence[Running]) -> None:
        self._tools = tools
        self._records: dict[str, list[Running]] = {}
        for record in records:
            self._records.setdefault(record.labels["uid"], []).append(record)
        self._pool = AddressPool(tools.runtime.subnet)
        for address in {record.labels["ip"] for record in records}:
            self._pool.take(address)
        self._pods: dict[str, Pod] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        """The API server has a new, newer or no version of a pod."""
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._removed(old["metadata"]["uid"])
        if new is None:
            return
        uid = new["metadata"]["uid"]
        if uid in self._pods:
            self._pods[uid].update(new)
        elif (new.get("status") or {}).get("phase") in _TERMINAL:
            if new["metadata"].get("deletionTimestamp"):
                self._spawn(self._delete(new))
        else:
            self._take(new)

    def alive(self, uid: str, container: str, number: int) -> bool:
        """Whether this start of a container may still write to its log."""
        pod = self._pods.get(uid)
        return pod is not None and pod.writes(container, number)

    def drop_unknown(self, known: Iterable[str]) -> None:
        """End what the keeper runs for pods that were deleted while no node program was there."""
        uids = set(known)
        for uid in [uid for uid in self._records if uid not in uids]:
            for record in self._records.pop(uid):
                self._spawn(self._drop(record))

    def keeper_lost(self) -> None:
        """All processes ended with their keeper."""
        for future in self._tools.exits.values():
            if not future.done():
                future.set_result(Exit(code=137, signal=9, out_of_memory=False, finished_at=time.time()))

    async def leave(self) -> None:
        """Stop looking after the pods; their processes stay."""
        await asyncio.gather(*(pod.leave() for pod in self._pods.values()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("%r", problem, exc_info=problem)

    def _take(self, pod: JsonObject) -> None:
        uid = pod["metadata"]["uid"]
        records = self._records.pop(uid, [])
        held = next((record.labels["ip"] for record in records), "")
        try:
            ip = held or self._pool.take((pod.get("status") or {}).get("podIP", ""))
        except IndexError:
            self._tools.recorder.warning(pod, "FailedCreatePodSandBox", "all pod addresses of the node are in use")
            return
        folder = self._tools.state / "pods" / uid / _WORK
        self._pods[uid] = Pod(self._tools, PodScope(pod, ip, folder), records)
        self._pods[uid].update(pod)

    def _removed(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is not None:
            pod.removed()
            self._spawn(self._forget(uid, pod))

    async def _forget(self, uid: str, pod: Pod) -> None:
        await pod.cleanup()
        if self._pods.pop(uid, None) is not None:
            self._pool.give_back(pod.scope.ip)

    async def _delete(self, pod: JsonObject) -> None:
        while not await delete_now(self._tools.api, pod):
            await asyncio.sleep(_RETRY_SECONDS)

    async def _drop(self, record: Running) -> None:
        ended = self._tools.expect(record)
        await end(self._tools.runtime, record.container, ended, hook=None, grace=FORCED_SECONDS)
        self._tools.exits.pop(record.container, None)
        try:
            await self._tools.runtime.remove(record.container)
        except KeeperLost as problem:
            _log.warning("%s", problem)

    def log_number(self, uid: str, container: str, *, previous: bool) -> int | None:
        """Which start of a container has the log that is asked for, None when there is no such log."""
        folder = log_path(self._tools.state, uid, container, 0).parent
        numbers = sorted(int(path.stem) for path in folder.glob("*.log")) if folder.is_dir() else []
        if previous:
            numbers = numbers[:-1]
        return numbers[-1] if numbers else None
