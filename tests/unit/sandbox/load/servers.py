"""Servers that misbehave in one way each; they take over the bare socket of every connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from include.sandbox.load.http import Target

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nX-Slot: blue\r\nX-Version: 2.9.0\r\nX-Pod: p\r\nContent-Length: 2\r\n"
_TURNS_TO_ACCEPT = 5  # of the event loop: a connection accepted just before the close appears some turns after it


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Target]:
    """Serve on a free port of the loopback address."""
    tasks: set[asyncio.Task[None]] = set()
    transports: list[asyncio.WriteTransport] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transports.append(writer.transport)
        task = asyncio.ensure_future(one(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for _ in range(_TURNS_TO_ACCEPT):
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for transport in transports:
                transport.abort()  # one that is being closed would wait for a client to read what is buffered
            await asyncio.sleep(0)


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read one request, body included."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request; heeds ``Connection: close``."""
    while True:
        asked = await request(reader)
        close = b"connection: close" in asked.lower()
        writer.write(OK + (b"Connection: close\r\n" if close else b"") + b"\r\nok")
        if close:
            return
