"""Owns forwarding of one TCP connection to another: every byte, each direction's end, every reset.

Sockets and the event loop's readers and writers, no transports: the service proxy opens hundreds of connections
a second on a busy machine, and an object saved is a request answered in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)
_CHUNK: Final = 1 << 16


class _Direction:
    """What one socket receives, the other sends."""

    def __init__(self, splice: Splice, source: socket.socket, target: socket.socket) -> None:
        self._splice = splice
        self._loop = splice.loop
        self._source = source
        self._target = target
        self._pending = b""
        self.ended = False

    def begin(self, first: bytes) -> None:
        if first:
            self._send(first)
        if not self._pending and not self.ended:
            self._loop.add_reader(self._source, self.readable)

    def readable(self) -> bool:
        """Move one chunk; whether there may be more."""
        try:
            data = self._source.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._splice.broken(self)
            return False
        if data:
            self._send(data)
            return not self._pending and not self.ended
        self._loop.remove_reader(self._source)
        self.ended = True
        with contextlib.suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)
        self._splice.direction_ended()
        return False

    def _send(self, data: bytes) -> None:
        try:
            sent = self._target.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._splice.broken(self)
            return
        if sent < len(data):
            if not self._pending:
                self._loop.remove_reader(self._source)
                self._loop.add_writer(self._target, self._writable)
            self._pending = data[sent:]
        elif self._pending:
            self._pending = b""
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self.readable)

    def _writable(self) -> None:
        self._send(self._pending)

    def drain(self) -> None:
        """Move what has already arrived, for the last time."""
        while not self.ended and self.readable():
            pass


class Splice:
    """Two connected sockets that belong together; it owns them from now on.

    :param first: bytes the client has already sent
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: socket.socket, server: socket.socket, first: bytes = b""
    ) -> None:
        self.loop = loop
        self._sockets = (client, server)
        self._forth = _Direction(self, client, server)
        self._back = _Direction(self, server, client)
        self._closed = False
        self._back.begin(b"")
        self._forth.begin(first)

    def direction_ended(self) -> None:
        """One direction has come to its regular end."""
        if self._forth.ended and self._back.ended:
            self._close()

    def broken(self, direction: _Direction) -> None:
        """One side is gone: pass on what it still sent, then let the other side know that it broke."""
        if self._closed:
            return
        direction.ended = True
        other = self._back if direction is self._forth else self._forth
        other.drain()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for one in self._sockets:
            self.loop.remove_reader(one)
            self.loop.remove_writer(one)
            one.close()


def reset(connection: socket.socket) -> None:
    """Close with a reset: the peer sees that something broke, not a regular end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def connect(loop: asyncio.AbstractEventLoop, client: socket.socket, host: str, port: int) -> None:
    """Forward an accepted connection to this address; a refused one is reset."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setblocking(False)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        outcome = server.connect_ex((host, port))
    except OSError as problem:
        outcome = problem.errno or errno.ECONNREFUSED

    def connected() -> None:
        loop.remove_writer(server)
        decide(server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def decide(result: int) -> None:
        if result:
            server.close()
            reset(client)
        else:
            Splice(loop, client, server)

    if outcome == errno.EINPROGRESS:
        loop.add_writer(server, connected)
    else:
        decide(outcome)


async def dial(host: str, port: int) -> socket.socket:
    """A non-blocking connection.

    :raises OSError: when nobody answers there
    """
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except BaseException:
        connection.close()
        raise
    return connection


class Listener:
    """Accepts connections on one address until it is closed.

    :raises OSError: when the address cannot be listened on
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, backlog: int) -> None:
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what it accepts
            self._socket.bind((host, port))
            self._socket.listen(backlog)
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def start(self, accepted: Callable[[socket.socket], None]) -> None:
        """Call ``accepted`` with each new connection, non-blocking."""
        self._loop.add_reader(self._socket, self._accept, accepted)

    def _accept(self, accepted: Callable[[socket.socket], None]) -> None:
        for _ in range(64):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:
                if problem.errno in (errno.EMFILE, errno.ENFILE):
                    return
                raise
            connection.setblocking(False)
            accepted(connection)

    def close(self) -> None:
        """Stop listening: from now on connections are refused."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
