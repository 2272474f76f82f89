"""Owns the probes of one running container: which run when, what they change, when they kill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from include.sandbox.node.probes import Kind, Outcome, Probe, ProbeState, kills, parse
from include.sandbox.node.probing import probe_for_ever
from include.sandbox.node.runtime import Running
from include.sandbox.node.tools import PodScope, Tools


class Health:
    """Started, ready and alive: what the probes of one start of a container say.

    :param changed: called when ``started`` or ``ready`` did
    :param kill: called with the probe that condemned the container
    :raises UnknownPort: a probe names a port the container does not declare
    """

    def __init__(
        self,
        tools: Tools,
        scope: PodScope,
        spec: dict[str, object],
        *,
        changed: Callable[[], None],
        kill: Callable[[Probe], Awaitable[None]],
    ) -> None:
        self._tools = tools
        self._scope = scope
        self._name = str(spec["name"])
        self._probes = {kind: parse(kind, spec) for kind in Kind}
        self._changed = changed
        self._kill = kill
        self._tasks: dict[Kind, asyncio.Task[None]] = {}
        self._since = time.time()
        self.started = False
        self.ready = False

    def begin(self, running: Running, *, was_started: bool = False, was_ready: bool = False) -> None:
        """The container runs; an adopted one keeps the verdicts it had until its probes say otherwise."""
        self._since = running.started_at
        self.ready = was_ready
        if self._probes[Kind.STARTUP] is None or was_started:
            self._is_started()
        else:
            self._spawn(Kind.STARTUP)

    def dying(self) -> None:
        """The container is being ended: from now on only readiness is probed."""
        for kind in (Kind.LIVENESS, Kind.STARTUP):
            if task := self._tasks.pop(kind, None):
                task.cancel()

    def end(self) -> None:
        """The container has ended."""
        self.started = self.ready = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _is_started(self) -> None:
        self.started = True
        if self._probes[Kind.READINESS] is None:
            self.ready = True
        for kind in (Kind.READINESS, Kind.LIVENESS):
            if self._probes[kind] is not None:
                self._spawn(kind)
        self._changed()

    def _spawn(self, kind: Kind) -> None:
        probe = self._probes[kind]
        assert probe is not None
        self._tasks[kind] = asyncio.create_task(
            probe_for_ever(
                probe,
                self._tools.prober,
                self._scope.ip,
                wait_seconds=self._since + probe.initial_delay - time.time(),
                passing=self.ready if kind is Kind.READINESS else None,
                report=lambda state, outcome: self._report(probe, state, outcome),
            ),
            name=f"{kind.value} {self._scope.name}/{self._name}",
        )

    async def _report(self, probe: Probe, state: ProbeState, outcome: Outcome) -> bool:
        if not outcome.ok:
            message = f"{probe.kind.value} probe failed: {outcome.message}"
            self._tools.recorder.warning(self._scope.pod, "Unhealthy", message, container=self._name)
        if probe.kind is Kind.READINESS:
            if self.ready != state.passing:
                self.ready = state.passing
                self._changed()
            return False
        if kills(probe, state):
            # The task must not wait for the death of the container whose end cancels it.
            self._tasks.pop(probe.kind, None)
            await self._kill(probe)
            return True
        if probe.kind is Kind.STARTUP and state.passing:
            self._tasks.pop(probe.kind, None)
            self._is_started()
            return True
        return False
