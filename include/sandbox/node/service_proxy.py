"""Owns the Services' addresses: listens where a Service is served and forwards whole connections.

What kube-proxy does: each new connection goes to one ready endpoint, chosen at random; an established one never
moves; where there is no endpoint, nobody listens and a connection is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable
from typing import Final

from include.sandbox.node.api import JsonObject
from include.sandbox.node.endpoints import SERVICE_LABEL, Address, Frontend, backends, frontends, unserved
from include.sandbox.node.splice import Side, dial, pair, reset
from include.sandbox.node.watch import Mirror

_log = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_RETRY_SECONDS: Final = 2.0

Complain = Callable[[JsonObject, str, str], None]


class _Front(Side):
    """A client's side: waits, without reading, until an endpoint has answered."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Choose an endpoint and connect to it."""
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._task = asyncio.create_task(self._open(self.transport))

    async def _open(self, transport: asyncio.Transport) -> None:
        choices = self._door.choices
        if not choices:
            reset(transport)
            return
        chosen = random.choice(choices)
        try:
            connection = await dial(chosen.host, chosen.port)
        except OSError:
            reset(transport)
            return
        if self.transport is None:
            connection.close()
            return
        back = Side()
        pair(self, back)
        await asyncio.get_running_loop().create_connection(lambda: back, sock=connection)
        if self.transport is not None:
            self.transport.resume_reading()


class Door:
    """One listening address of one Service's port."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.choices: tuple[Address, ...] = ()
        self._server: asyncio.Server | None = None

    async def set(self, choices: tuple[Address, ...]) -> None:
        """Forward new connections to these endpoints from now on; none: refuse connections.

        :raises OSError: when the address cannot be listened on
        """
        self.choices = choices
        if choices and self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Front(self), sock=_listening(self.address), backlog=_BACKLOG
            )
        elif not choices and self._server is not None:
            self._server.close()
            self._server = None


def _listening(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((address.host, address.port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class ServiceProxy:
    """Serves all Services of the cluster.

    :param complain: called with the Service, a reason and a message for what cannot be served
    """

    def __init__(self, services: Mirror, slices: Mirror, complain: Complain) -> None:
        self._services = services
        self._slices = slices
        self._complain = complain
        self._doors: dict[Address, Door] = {}
        self._dirty = asyncio.Event()
        self._told: set[tuple[str, str]] = set()

    def changed(self, *_: object) -> None:
        """A Service or an EndpointSlice is not what it was."""
        self._dirty.set()

    async def run(self) -> None:
        """Follow the Services for ever."""
        await self._services.synced.wait()
        await self._slices.synced.wait()
        while True:
            self._dirty.clear()
            failed = await self._apply()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS if failed else None):
                    await self._dirty.wait()

    async def _apply(self) -> bool:
        """Make the doors what the API server says; whether some address could not be listened on."""
        wanted = self._wanted()
        failed = False
        for address in [address for address in self._doors if address not in wanted]:
            await self._doors.pop(address).set(())
        for address, (frontend, choices) in wanted.items():
            door = self._doors.setdefault(address, Door(address))
            try:
                await door.set(choices)
            except OSError as problem:
                failed = True
                self._tell(frontend, f"cannot listen on {address.host}:{address.port}: {problem.strerror}")
        return failed

    def _wanted(self) -> dict[Address, tuple[Frontend, tuple[Address, ...]]]:
        pieces: dict[tuple[str, str], list[JsonObject]] = {}
        for (namespace, _), piece in self._slices.items.items():
            name = (piece["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
            pieces.setdefault((namespace, name), []).append(piece)
        wanted: dict[Address, tuple[Frontend, tuple[Address, ...]]] = {}
        for key, service in self._services.items.items():
            for what in unserved(service):
                self._complain_once(service, f"the sandbox does not serve {what}")
            for frontend in frontends(service):
                choices = backends(pieces.get(key, ()), frontend.port_name)
                wanted |= dict.fromkeys(frontend.addresses, (frontend, choices))
        return wanted

    def _tell(self, frontend: Frontend, message: str) -> None:
        service = self._services.items.get((frontend.namespace, frontend.service))
        if service is not None:
            self._complain_once(service, message)

    def _complain_once(self, service: JsonObject, message: str) -> None:
        key = (service["metadata"]["uid"], message)
        if key not in self._told:
            self._told.add(key)
            _log.warning("service %s: %s", service["metadata"]["name"], message)
            self._complain(service, "NotServed", message)
