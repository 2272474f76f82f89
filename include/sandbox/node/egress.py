"""Owns the way from the API server into the sandbox: an HTTP CONNECT proxy on a Unix socket.

``--egress-selector-config-file`` sends everything the API server opens towards the cluster here: kubelet's API
(logs), ``pods/…/proxy``, ``services/…/proxy``. Cluster addresses are mapped to the loopback addresses that serve
them; anything else is refused.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from include.sandbox.addresses import NODE_ADDRESS, NotAClusterAddress, local_address
from include.sandbox.node.splice import Side, dial, pair

_log = logging.getLogger(__name__)
_LONGEST_HEAD: Final = 16 * 1024
_END: Final = b"\r\n\r\n"


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


class _Tunnel(Side):
    """The API server's side: reads the request's head, then forwards."""

    def __init__(self, egress: Egress) -> None:
        super().__init__()
        self._egress = egress
        self._head = b""
        self._opening: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Collect the head, forward everything after it."""
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        head, end, rest = self._head.partition(_END)
        if end and self._opening is None:
            assert self.transport is not None
            self.transport.pause_reading()
            self._opening = asyncio.create_task(self._open(head, rest))
        elif len(self._head) > _LONGEST_HEAD:
            self._refuse(400, "head too long")

    async def _open(self, head: bytes, rest: bytes) -> None:
        try:
            host, port = serving(*target(head), kubelet_port=self._egress.kubelet_port)
            connection = await dial(host, port)
        except BadRequest as problem:
            self._refuse(400, str(problem))
            return
        except NotAClusterAddress as problem:
            self._refuse(403, str(problem))
            return
        except OSError as problem:
            self._refuse(502, str(problem) or "timeout")
            return
        if self.transport is None:
            connection.close()
            return
        upstream = Side()
        pair(self, upstream)
        await asyncio.get_running_loop().create_connection(lambda: upstream, sock=connection)
        if self.transport is None:
            return
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if rest:
            super().data_received(rest)
        self.transport.resume_reading()

    def _refuse(self, status: int, reason: str) -> None:
        if self.transport is not None:
            text = " ".join(reason.split())
            self.transport.write(f"HTTP/1.1 {status} {text}\r\nContent-Length: 0\r\n\r\n".encode())
            self.transport.close()


class Egress:
    """The CONNECT proxy.

    :param path: the Unix socket the API server's egress selector names
    """

    def __init__(self, path: Path, *, kubelet_port: int) -> None:
        self.path = path
        self.kubelet_port = kubelet_port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that an earlier node program left behind is replaced."""
        self.path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Tunnel(self), path=str(self.path), backlog=256)
        self.path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening; open tunnels end with the program."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
