"""Owns forwarding of one TCP connection to another: every byte, each direction's end, every reset.

Transports and protocols, no streams: a service proxy opens hundreds of connections a second on a busy machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)
_CONNECT_SECONDS: Final = 10.0


class Side(asyncio.Protocol):
    """One of two connections that belong together; what one receives, the other sends."""

    def __init__(self) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: pass it on."""
        other = self.other
        if other is not None and other.transport is not None:
            other.transport.write(data)

    def eof_received(self) -> bool:
        """Called by the event loop: this direction is over, the opposite one may go on."""
        self._ended = True
        other = self.other
        if other is None or other.transport is None:
            return False
        if other._ended:  # noqa: SLF001 — both sides are this class
            other.transport.close()
            return False
        if not other.transport.is_closing():
            with contextlib.suppress(OSError):
                other.transport.write_eof()
        return True

    def connection_lost(self, problem: Exception | None) -> None:
        """Called by the event loop: end the other side in the same manner."""
        other, self.other = self.other, None
        self.transport = None
        if other is None or other.transport is None:
            return
        other.other = None
        if problem is not None:
            reset(other.transport)
        else:
            other.transport.close()

    def pause_writing(self) -> None:
        """Called by the event loop: this side takes no more for now."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the event loop: this side takes data again."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


def pair(one: Side, two: Side) -> None:
    """Join two sides."""
    one.other, two.other = two, one


def reset(transport: asyncio.Transport) -> None:
    """Close with a reset: the peer sees that something broke, not a regular end."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


async def dial(host: str, port: int) -> socket.socket:
    """A non-blocking connection.

    :raises OSError: when nobody answers there, :class:`TimeoutError` included
    """
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except BaseException:
        connection.close()
        raise
    return connection
