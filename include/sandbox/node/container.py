"""Owns one container of one pod over all its starts: image, start, probes, end, back-off, start again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from include.errors import ClusterError, ImageNotFound, SandboxError
from include.sandbox.images import Image
from include.sandbox.node import adoption, ending, logs
from include.sandbox.node.backoff import Backoff, starts_again, words
from include.sandbox.node.env import ConfigProblem
from include.sandbox.node.health import Health
from include.sandbox.node.image_missing import Hold, invalid_name, never_pulled, not_pulled
from include.sandbox.node.launch import Attempt, command, image_id, log_path
from include.sandbox.node.preparation import NotRunnable
from include.sandbox.node.probes import Kind, Probe, UnknownPort
from include.sandbox.node.runtime import Exit, KeeperLost, Running, StartRefused
from include.sandbox.node.tools import PodScope, Tools
from include.sandbox.node.views import ContainerView, Ended, Started, Waiting

_CREATING: Final = Waiting("ContainerCreating")
_CONFIG_PAUSE: Final = 1.0
_API_PAUSE: Final = 0.2
_START_ERROR: Final = 128


class Container:
    """One container.

    :param changed: called whenever :attr:`view` is not what it was
    """

    def __init__(
        self, tools: Tools, scope: PodScope, spec: dict[str, Any], *, init: bool, changed: Callable[[], None]
    ) -> None:
        self._tools = tools
        self._scope = scope
        self._spec = spec
        self._init = init
        self._tell = changed
        self._backoff = Backoff()
        self._pull_backoff = Backoff()
        self._number = 0
        self._alive: Running | None = None
        self._health: Health | None = None
        self._hook: asyncio.Task[str] | None = None
        self._records: list[str] = []
        state = Waiting("PodInitializing") if scope.pod["spec"].get("initContainers") else _CREATING
        self.view = ContainerView(spec["name"], spec["image"], state)

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self._spec["name"])

    @property
    def alive_number(self) -> int | None:
        """Which start of it is running, counted from 0; None: none."""
        return self._number if self._alive is not None else None

    def adopt(self, records: Sequence[Running], status: dict[str, Any] | None) -> None:
        """Take over what an earlier node program left of this container."""
        found = adoption.adopt(self.view, records, status or {}, time.time())
        self.view, self._alive, self._number = found.view, found.alive, found.number
        self._records = [one.container for one in sorted(records, key=lambda one: int(one.labels["attempt"]))]

    async def run(self) -> None:
        """Run until it will not be started again; its last state is in :attr:`view`."""
        while True:
            if self._alive is None and not isinstance(self.view.state, Ended):
                await self._start()
            if self._alive is not None:
                await self._live(self._alive)
            if self._scope.stopping.is_set() or not isinstance(self.view.state, Ended):
                return
            if not starts_again(self._policy, self.view.state.code, init=self._init):
                return
            await self._back_off(self.view.state)
            if self._scope.stopping.is_set():
                return
            self._number += 1
            self._change(state=_CREATING)

    @property
    def _policy(self) -> str:
        return str(self._scope.pod["spec"].get("restartPolicy", "Always"))

    def _change(self, **what: Any) -> None:
        self.view = replace(self.view, **what)
        self._tell()

    async def _back_off(self, ended: Ended) -> None:
        remaining = self._backoff.remaining(ended.finished_at, time.time())
        if remaining > 0:
            delay = words(self._backoff.delay)
            pod = f"{self._scope.name}_{self._scope.namespace}({self._scope.uid})"
            message = f"back-off {delay} restarting failed container={self.name} pod={pod}"
            self._change(state=Waiting("CrashLoopBackOff", message), last=ended)
            self._warn("BackOff", f"Back-off restarting failed container {self.name} in pod {pod}")
            await self._scope.pause(remaining)
        self._backoff = self._backoff.next(ended.finished_at, time.time())
        self.view = replace(self.view, last=ended)

    async def _start(self) -> None:
        """Try until it runs, has failed to start, or the pod stops."""
        while not self._scope.stopping.is_set():
            try:
                image = self._tools.images.resolve(self._spec["image"])
            except ImageNotFound as problem:
                await self._image_missing(str(problem))
                continue
            except SandboxError as problem:
                await self._hold(invalid_name(str(problem)))
                continue
            try:
                await self._launch(image)
            except ConfigProblem as problem:
                waiting = Waiting("CreateContainerConfigError", str(problem))
                await self._hold(Hold(waiting, "Failed", f"Error: {problem}", _CONFIG_PAUSE))
                continue
            except (NotRunnable, UnknownPort, StartRefused) as problem:
                self._not_started(str(problem))
            except (ClusterError, KeeperLost):
                await self._scope.pause(_API_PAUSE)
                continue
            return

    async def _launch(self, image: Image) -> None:
        order = await command(self._tools, Attempt(self._scope, self._spec, self._number), image)
        Health(
            self._tools, self._scope, self._spec, changed=self._probed, kill=self._condemned
        )  # are its ports known?
        if self._scope.stopping.is_set():
            return
        if self._spec.get("imagePullPolicy") == "Always":
            self._say("Pulling", f'Pulling image "{self._spec["image"]}"')
            self._say("Pulled", f'Successfully pulled image "{self._spec["image"]}"')
        else:
            self._say("Pulled", f'Container image "{self._spec["image"]}" already present on machine')
        self._alive = await self._tools.runtime.start(order)
        self._say("Created", f"Created container: {self.name}")
        self._say("Started", f"Started container {self.name}")
        self._records.append(self._alive.container)
        self._change(
            state=Started(self._alive.started_at),
            image_id=image_id(image),
            container_id=self._alive.container,
            restarts=self._number,
        )
        await self.forget(keep=2)

    async def _live(self, running: Running) -> None:
        ended = self._tools.expect(running)
        health = Health(self._tools, self._scope, self._spec, changed=self._probed, kill=self._condemned)
        self._health = health
        health.begin(running, was_started=self.view.started, was_ready=self.view.ready)
        try:
            how = await asyncio.shield(ended)
        finally:
            health.end()
            self._health = None
        self._note_end(running, how)
        self._tell()

    def _note_end(self, running: Running, how: Exit) -> None:
        message = ""
        if how.code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            path = log_path(self._tools.state, self._scope.uid, self.name, running.labels["attempt"])
            message = logs.last_words(path)
        ended = adoption.end_of(running, how, message)
        self._alive = None
        self._hook = None
        self.view = replace(self.view, state=ended, ready=False, started=False)

    async def forget(self, *, keep: int = 0) -> None:
        """Let the keeper forget all starts but the newest ``keep``, which have to have ended."""
        count = len(self._records) - keep
        forgotten, self._records = self._records[: max(0, count)], self._records[max(0, count) :]
        for old in forgotten:
            self._tools.exits.pop(old, None)
            with contextlib.suppress(KeeperLost):
                await self._tools.runtime.remove(old)

    async def kill(self, grace: float, message: str) -> None:
        """End it if it runs; returns when it has ended. A second call may shorten the first one's grace."""
        running = self._alive
        if running is None:
            return
        self._say("Killing", message)
        if self._health is not None:
            self._health.dying()
        if self._hook is None and grace > 0:
            self._hook = asyncio.create_task(self._pre_stop(grace))
        await ending.end(
            self._tools.runtime, running.container, self._tools.expect(running), hook=self._hook, grace=grace
        )

    async def _pre_stop(self, grace: float) -> str:
        problem = await ending.pre_stop(self._spec, self._tools.prober, self._scope.ip, grace)
        if problem:
            self._warn("FailedPreStopHook", f"PreStopHook failed: {problem}")
        return problem

    async def _condemned(self, probe: Probe) -> None:
        grace = self._scope.grace if probe.grace is None else float(probe.grace)
        what = "startup" if probe.kind is Kind.STARTUP else "liveness"
        await self.kill(grace, f"Container {self.name} failed {what} probe, will be restarted")

    def _probed(self) -> None:
        if self._health is not None and self._alive is not None:
            self._change(started=self._health.started, ready=self._health.ready)

    async def _image_missing(self, problem: str) -> None:
        image = self._spec["image"]
        if self._spec.get("imagePullPolicy") == "Never":
            await self._hold(never_pulled(image))
            return
        error, pause, self._pull_backoff = not_pulled(image, problem, self._pull_backoff, time.time())
        self._say("Pulling", f'Pulling image "{image}"')
        self._warn("Failed", f'Failed to pull image "{image}": {problem}')
        await self._hold(error)
        self._say("BackOff", f'Back-off pulling image "{image}"')
        await self._hold(pause)

    async def _hold(self, hold: Hold) -> None:
        if self.view.state != hold.waiting:
            self._change(state=hold.waiting)
            self._warn(hold.reason, hold.message)
        await self._scope.pause(hold.seconds)

    def _not_started(self, problem: str) -> None:
        now = time.time()
        self._warn("Failed", f"Error: {problem}")
        message = f"failed to start container: {problem}"
        ended = Ended(_START_ERROR, "StartError", now, now, f"not-started-{self._number}", message)
        self._change(state=ended, restarts=self._number)

    def _say(self, reason: str, message: str) -> None:
        self._tools.recorder.normal(self._scope.pod, reason, message, container=self.name)

    def _warn(self, reason: str, message: str) -> None:
        self._tools.recorder.warning(self._scope.pod, reason, message, container=self.name)
