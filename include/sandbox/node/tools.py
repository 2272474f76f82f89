"""Owns what all pods of the node share, and what the containers of one pod share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from include.sandbox.addresses import NODE_ADDRESS
from include.sandbox.images import ImageStore
from include.sandbox.node.api import Api, JsonObject
from include.sandbox.node.env import PodFacts
from include.sandbox.node.events import Recorder
from include.sandbox.node.probing import Prober
from include.sandbox.node.runtime import Exit, Running, Runtime


@dataclass
class Tools:
    """The node's clients.

    :param links: the Service variables of a namespace
    :param exits: resolved when the container of this id ends
    """

    api: Api
    runtime: Runtime
    images: ImageStore
    recorder: Recorder
    prober: Prober
    state: Path
    node_name: str
    capacity: Mapping[str, str]
    links: Callable[[str], Mapping[str, str]]
    exits: dict[str, asyncio.Future[Exit]] = field(default_factory=dict)

    def expect(self, running: Running) -> asyncio.Future[Exit]:
        """The future of a container's end."""
        future = self.exits.setdefault(running.container, asyncio.get_running_loop().create_future())
        if running.exit is not None and not future.done():
            future.set_result(running.exit)
        return future

    def ended(self, running: Running) -> None:
        """Hear from the keeper that a container ended."""
        self.expect(running)


@dataclass
class PodScope:
    """One pod as its containers see it.

    :param pod: replaced whenever the API server has a newer one
    :param stopping: set when nothing may be started any more
    """

    pod: JsonObject
    ip: str
    folder: Path
    token_folder: Path | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """Name in its namespace."""
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """Its identity: a pod of the same name made later is another one."""
        return str(self.pod["metadata"]["uid"])

    @property
    def grace(self) -> float:
        """Seconds its containers get between SIGTERM and SIGKILL."""
        given = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if given is None:
            given = self.pod["spec"].get("terminationGracePeriodSeconds")
        return float(30 if given is None else given)

    def facts(self, tools: Tools) -> PodFacts:
        """What the downward API tells its containers."""
        return PodFacts(self.pod, self.ip, NODE_ADDRESS, tools.node_name, tools.capacity)

    async def pause(self, seconds: float) -> None:
        """Sleep, or wake when the pod has to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
