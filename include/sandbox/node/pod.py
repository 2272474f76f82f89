"""Owns one pod on the node from the moment it is assigned until it is gone from the API server."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from include.errors import ClusterError, ClusterRefused
from include.sandbox.node.api import STRATEGIC_MERGE, JsonObject
from include.sandbox.node.container import Container
from include.sandbox.node.pod_object import GONE, delete_now, gates, pod_path
from include.sandbox.node.refusals import not_enforced, refusals
from include.sandbox.node.runtime import Running
from include.sandbox.node.status import parse_moment, pod_status
from include.sandbox.node.token_mount import mount, renew
from include.sandbox.node.tools import PodScope, Tools
from include.sandbox.node.views import Ended, PodView, Waiting

_log = logging.getLogger(__name__)
FORCED_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2
_REFUSED: Final = "CreateContainerConfigError"


class Pod:
    """One pod: its containers in order, its status, its end."""

    def __init__(self, tools: Tools, scope: PodScope, records: Sequence[Running]) -> None:
        self._tools = tools
        self.scope = scope
        spec, status = scope.pod["spec"], scope.pod.get("status") or {}
        self.init = self._containers(spec.get("initContainers") or [], init=True)
        self.containers = self._containers(spec["containers"], init=False)
        known = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        for container in [*self.init, *self.containers]:
            mine = [record for record in records if record.labels["name"] == container.name]
            before = next((one for one in known if one["name"] == container.name), None)
            container.adopt(mine, before)
        self._started_at = parse_moment(status.get("startTime")) or time.time()
        self._conditions: list[JsonObject] = []
        self._writing = asyncio.Lock()
        self._failure: tuple[str, str] | None = None
        self._refused = ""
        self._ended = False
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kills: list[asyncio.Task[None]] = []
        self._grace = float("inf")
        self._running = self._spawn(self._run())
        self._spawn(self._report())
        self.gone = False

    def _containers(self, specs: list[JsonObject], *, init: bool) -> list[Container]:
        return [Container(self._tools, self.scope, one, init=init, changed=self._changed) for one in specs]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"pod {self.scope.name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("pod %s: %r", self.scope.name, problem, exc_info=problem)

    # -- what the API server says ----------------------------------------------------------------------

    def update(self, pod: JsonObject) -> None:
        """The API server has a newer version of the pod."""
        others = gates(self.scope.pod) != gates(pod)
        self.scope.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self.terminate(self.scope.grace)
        elif others:
            self._changed()

    def removed(self) -> None:
        """The API server no longer has the pod: nothing of it may go on."""
        self.gone = True
        self.terminate(min(self._grace, FORCED_SECONDS))

    def terminate(self, grace: float) -> None:
        """End the pod; a later call may only shorten the grace period."""
        if grace >= self._grace:
            return
        first = self._grace == float("inf")
        self._grace = grace
        self.scope.stopping.set()
        if first:
            self._spawn(self._terminate())
        else:
            self._kill_all(grace)

    async def leave(self) -> None:
        """Stop looking after the pod; its processes stay."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def writes(self, container: str, number: int) -> bool:
        """Whether this start of a container has not ended."""
        return any(one.name == container and one.alive_number == number for one in [*self.init, *self.containers])

    # -- its life ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._changed()
        if needed := refusals(self.scope.pod):
            await self._refuse("; ".join(needed))
            return
        if ignored := not_enforced(self.scope.pod):
            message = f"the sandbox runs processes, not containers; without effect here: {', '.join(ignored)}"
            self._tools.recorder.normal(self.scope.pod, "NotEnforced", message)
        self.scope.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if token := await mount(self._tools, self.scope):
            self._spawn(renew(self._tools, self.scope, token))
        deadline = self.scope.pod["spec"].get("activeDeadlineSeconds")
        if deadline is not None:
            self._spawn(self._deadline(float(deadline)))
        if await self._initialize():
            await asyncio.gather(*(container.run() for container in self.containers))
        if not self.scope.stopping.is_set():
            self._ended = True
            self._changed()

    async def _initialize(self) -> bool:
        for container in self.init:
            await container.run()
            state = container.view.state
            if not isinstance(state, Ended) or state.code != 0:
                return False
        return not self.scope.stopping.is_set()

    async def _refuse(self, what: str) -> None:
        message = f"the sandbox's node cannot run this pod: {what}"
        self._tools.recorder.warning(self.scope.pod, "NotSupported", message)
        if self.scope.pod["spec"].get("restartPolicy", "Always") == "Always":
            # A failed pod would be replaced at once, again and again: this one stays and says why.
            self._refused = message
        else:
            self._failure = ("NotSupported", message)
            self._ended = True
        self._changed()

    async def _deadline(self, seconds: float) -> None:
        await self.scope.pause(self._started_at + seconds - time.time())
        if self.scope.stopping.is_set() or self._ended:
            return
        message = "Pod was active on the node longer than the specified deadline"
        self._tools.recorder.normal(self.scope.pod, "DeadlineExceeded", message)
        self.scope.stopping.set()
        self._kill_all(self.scope.grace)
        await self._until_still()
        self._failure = ("DeadlineExceeded", message)
        self._ended = True
        self._changed()

    # -- its end ---------------------------------------------------------------------------------------

    def _kill_all(self, grace: float) -> None:
        for container in [*self.init, *self.containers]:
            message = f"Stopping container {container.name}"
            self._kills.append(self._spawn(container.kill(grace, message)))

    async def _until_still(self) -> None:
        """Wait for all containers; one that was just being started is ended as well."""
        while True:
            if self._kills:
                await asyncio.wait(self._kills)
                self._kills.clear()
            done, _ = await asyncio.wait({self._running}, timeout=_RETRY_SECONDS)
            if done:
                return
            self._kill_all(min(self._grace, self.scope.grace))

    async def _terminate(self) -> None:
        self._kill_all(self._grace)
        await self._until_still()
        self._ended = True
        self._changed()
        while not self.gone:
            await self._write_status()
            if await delete_now(self._tools.api, self.scope.pod):
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def cleanup(self) -> None:
        """Forget everything about the pod once the API server has; returns when its processes have ended."""
        await self._until_still()
        for container in [*self.init, *self.containers]:
            await container.forget()
        await self.leave()
        await asyncio.to_thread(shutil.rmtree, self.scope.folder.parent, ignore_errors=True)

    # -- its status ------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._dirty.set()

    def view(self) -> PodView:
        """The pod as it is now."""
        containers = tuple(container.view for container in self.containers)
        if self._refused:
            waiting = Waiting(_REFUSED, self._refused)
            containers = tuple(replace(view, state=waiting) for view in containers)
        return PodView(
            started_at=self._started_at,
            ip=self.scope.ip,
            init=tuple(container.view for container in self.init),
            containers=containers,
            ended=self._ended,
            failure=self._failure,
            gates=tuple(gate["conditionType"] for gate in self.scope.pod["spec"].get("readinessGates") or []),
        )

    async def _report(self) -> None:
        while not self.gone:
            await self._dirty.wait()
            if not await self._write_status():
                await asyncio.sleep(_RETRY_SECONDS)
                self._dirty.set()

    async def _write_status(self) -> bool:
        """Write the status as it is now; whether that worked or need not be tried again."""
        async with self._writing:
            return self.gone or await self._patch_status()

    async def _patch_status(self) -> bool:
        self._dirty.clear()
        status = pod_status(self.scope.pod, self.view(), time.time(), self._conditions)
        body = {"metadata": {"uid": self.scope.uid}, "status": status}
        try:
            path = f"{pod_path(self.scope.pod)}/status"
            answer = await self._tools.api.patch(path, body, content_type=STRATEGIC_MERGE)
            self._conditions = answer["status"]["conditions"]
        except ClusterRefused as problem:
            if problem.status not in GONE:
                _log.warning("%s", problem)
            return problem.status in GONE
        except ClusterError:
            return False
        return True
