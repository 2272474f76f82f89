"""Owns the node program's parts and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import SandboxError
from include.sandbox.images import ImageStore
from include.sandbox.node.api import Api, JsonObject
from include.sandbox.node.egress import Egress
from include.sandbox.node.env import service_links
from include.sandbox.node.events import Recorder
from include.sandbox.node.kubelet import Identity, Kubelet
from include.sandbox.node.pods import Pods
from include.sandbox.node.probing import Prober
from include.sandbox.node.registration import Registration, machine
from include.sandbox.node.runtime import Running, Runtime
from include.sandbox.node.service_proxy import ServiceProxy
from include.sandbox.node.tools import Tools
from include.sandbox.node.watch import Mirror

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the node program is told on its command line; see ``--help``."""

    kubeconfig: Path
    images: Path
    state: Path
    node_name: str
    egress_socket: Path
    identity: Identity
    kubelet_port: int
    owner_pid: int
    absence_seconds: float
    stop_seconds: float


class Node:
    """The whole node program."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._api = Api(options.kubeconfig)
        self._records: list[Running] = []
        self._runtime = Runtime(
            options.state,
            on_exit=self._exited,
            on_lost=self._keeper_lost,
            owner_pid=options.owner_pid,
            absence_seconds=options.absence_seconds,
        )
        self._services = Mirror(self._api, "/api/v1/services", self._service_changed)
        self._slices = Mirror(self._api, "/apis/discovery.k8s.io/v1/endpointslices", self._service_changed)
        selector = {"fieldSelector": f"spec.nodeName={options.node_name}"}
        self._mirror = Mirror(self._api, "/api/v1/pods", self._pod_changed, selector)
        self._recorder = Recorder(self._api, options.node_name)
        self._proxy = ServiceProxy(self._services, self._slices, self._recorder.warning)
        self._tools = Tools(
            api=self._api,
            runtime=self._runtime,
            images=ImageStore(options.images),
            recorder=self._recorder,
            prober=Prober(),
            state=options.state,
            node_name=options.node_name,
            capacity=machine(),
            links=self._links,
        )
        self._pods: Pods | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until a signal comes: SIGTERM and SIGINT end the pods too, SIGHUP leaves them to a successor.

        A keeper that somebody else supervises is left to them, with its pods.

        :raises SandboxError: when another node program uses the state folder
        """
        stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, _once, stop, number)
        with _locked(self._options.state):
            async with self._api:
                await self._serve(stop)

    async def _serve(self, stop: asyncio.Future[int]) -> None:
        records = await self._runtime.connect()
        self._pods = Pods(self._tools, records)
        kubelet = Kubelet(self._pods, self._mirror, self._recorder, self._options.state)
        await kubelet.start(self._options.identity, self._options.kubelet_port)
        egress = Egress(self._options.egress_socket, kubelet_port=kubelet.port)
        egress.start()
        registration = Registration(self._api, self._options.node_name, kubelet_port=kubelet.port)
        work = [
            asyncio.create_task(part)
            for part in (
                registration.run(),
                self._services.run(),
                self._slices.run(),
                self._recorder.run(),
                self._proxy.run(),
                self._take_pods(),
            )
        ]
        try:
            until: set[asyncio.Future[Any]] = {stop, *work}
            await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
        finally:
            for task in work:
                task.cancel()
            await self._pods.leave()
            egress.stop()
            await kubelet.stop()
            await self._tools.prober.close()
            await self._end_keeper(stop.result() if stop.done() else signal.SIGTERM)

    async def _end_keeper(self, number: int) -> None:
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._runtime.supervised or number == signal.SIGHUP:
            await self._runtime.leave()
        else:
            await self._runtime.shutdown(self._options.stop_seconds)

    async def _take_pods(self) -> None:
        await self._services.synced.wait()  # the first pods already get their Service variables
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run())
            await self._mirror.synced.wait()
            assert self._pods is not None
            self._pods.drop_unknown(item["metadata"]["uid"] for item in self._mirror.items.values())

    def _links(self, namespace: str) -> Mapping[str, str]:
        return service_links(self._services.items.values(), namespace)

    def _pod_changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        assert self._pods is not None
        self._pods.changed(old, new)

    def _service_changed(self, _old: JsonObject | None, _new: JsonObject | None) -> None:
        self._proxy.changed()

    def _exited(self, running: Running) -> None:
        self._tools.ended(running)

    def _keeper_lost(self) -> None:
        _log.error("the keeper of the containers ended, and all containers with it; starting another one")
        self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        await self._runtime.connect()
        if self._pods is not None:
            self._pods.keeper_lost()


def _once(future: asyncio.Future[int], number: int) -> None:
    if not future.done():
        future.set_result(number)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the state folder against a second node program."""
    descriptor = os.open(state / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise SandboxError("another node program uses the state folder", seen=str(state)) from problem
    else:
        yield
    finally:
        os.close(descriptor)
