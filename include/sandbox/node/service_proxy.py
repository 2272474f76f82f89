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
from include.sandbox.node.splice import Listener, connect
from include.sandbox.node.watch import Mirror

_log = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_RETRY_SECONDS: Final = 2.0

Complain = Callable[[JsonObject, str, str], None]


class Door:
    """One listening address of one Service's port."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._choices: tuple[Address, ...] = ()
        self._listener: Listener | None = None

    def set(self, choices: tuple[Address, ...]) -> None:
        """Forward new connections to these endpoints from now on; none: refuse connections.

        :raises OSError: when the address cannot be listened on
        """
        self._choices = choices
        if choices and self._listener is None:
            self._listener = Listener(asyncio.get_running_loop(), self.address.host, self.address.port, _BACKLOG)
            self._listener.start(self._accepted)
        elif not choices and self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accepted(self, client: socket.socket) -> None:
        chosen = random.choice(self._choices)
        connect(asyncio.get_running_loop(), client, chosen.host, chosen.port)


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
            failed = self._apply()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS if failed else None):
                    await self._dirty.wait()

    def _apply(self) -> bool:
        """Make the doors what the API server says; whether some address could not be listened on."""
        wanted = self._wanted()
        failed = False
        for address in [address for address in self._doors if address not in wanted]:
            self._doors.pop(address).set(())
        for address, (frontend, choices) in wanted.items():
            door = self._doors.setdefault(address, Door(address))
            try:
                door.set(choices)
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
