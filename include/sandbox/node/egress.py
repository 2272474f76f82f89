"""Owns the way from the API server into the sandbox: an HTTP CONNECT proxy on a Unix socket.

``--egress-selector-config-file`` sends everything the API server opens towards the cluster here: kubelet's API
(logs), ``pods/…/proxy``, ``services/…/proxy``. Cluster addresses are mapped to the loopback addresses that serve
them; anything else is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from include.sandbox.addresses import NODE_ADDRESS, NotAClusterAddress, local_address
from include.sandbox.node.splice import Splice, dial

_LONGEST_HEAD: Final = 16 * 1024
_END: Final = b"\r\n\r\n"
_OPEN_SECONDS: Final = 10.0


class BadRequest(Exception):
    """Not a CONNECT request."""


def target(head: bytes) -> tuple[str, int]:
    """Host and port of a CONNECT request's head.

    :raises BadRequest: it is something else
    """
    words = head.split(b"\r\n", 1)[0].split()
    host, colon, port = words[1].rpartition(b":") if len(words) == 3 else (b"", b"", b"")
    if words[:1] != [b"CONNECT"] or not colon or not port.isdigit():
        raise BadRequest(head[:80].decode(errors="replace"))
    return host.decode(), int(port)


def serving(host: str, port: int, *, kubelet_port: int) -> tuple[str, int]:
    """Where the cluster's address is really served.

    :raises NotAClusterAddress: for an address outside the sandbox
    """
    if host == NODE_ADDRESS:
        if port != kubelet_port:
            raise NotAClusterAddress("the node serves kubelet's API only", seen=f"{host}:{port}")
        return "127.0.0.1", port
    return local_address(host), port


class Egress:
    """The CONNECT proxy.

    :param path: the Unix socket the API server's egress selector names
    """

    def __init__(self, path: Path, *, kubelet_port: int) -> None:
        self.path = path
        self.kubelet_port = kubelet_port
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen; a socket that an earlier node program left behind is replaced."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(256)
        self._spawn(self._accept(self._listener))

    def stop(self) -> None:
        """Stop listening; open tunnels end with the program."""
        for task in self._tasks:
            task.cancel()
        if self._listener is not None:
            self._listener.close()
            self.path.unlink(missing_ok=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            self._spawn(self._tunnel(connection))

    async def _tunnel(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                head, rest = await _read_head(connection)
                host, port = serving(*target(head), kubelet_port=self.kubelet_port)
                upstream = await dial(host, port)
        except (BadRequest, NotAClusterAddress, OSError) as problem:
            await _refuse(connection, problem)
            return
        try:
            await loop.sock_sendall(connection, b"HTTP/1.1 200 Connection established\r\n\r\n")
        except OSError:
            connection.close()
            upstream.close()
            return
        Splice(loop, connection, upstream, rest)


async def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The request's head and what was sent after it.

    :raises BadRequest: it does not end in time or in bounds
    """
    received = b""
    while _END not in received:
        data = await asyncio.get_running_loop().sock_recv(connection, 1 << 16)
        received += data
        if not data or len(received) > _LONGEST_HEAD:
            raise BadRequest("no CONNECT request")
    head, _, rest = received.partition(_END)
    return head, rest


async def _refuse(connection: socket.socket, problem: Exception) -> None:
    status = {BadRequest: 400, NotAClusterAddress: 403}.get(type(problem), 502)
    text = " ".join((str(problem) or type(problem).__name__).split())
    with contextlib.suppress(OSError):
        answer = f"HTTP/1.1 {status} {text}\r\nContent-Length: 0\r\n\r\n".encode()
        await asyncio.get_running_loop().sock_sendall(connection, answer)
    connection.close()
