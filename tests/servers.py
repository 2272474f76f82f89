"""Servers of the tests' own, of which nothing is left when they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(application: web.Application, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port on which ``application`` answers.

    The loop closes a connection's socket in one of its next rounds, after aiohttp's cleanup: a test whose loop has
    ended by then would leave it to the garbage collector, which is an error in whatever test that comes upon it.
    """
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield runner.addresses[0][1]
    finally:
        assert runner.server is not None
        transports = [one.transport for one in runner.server.connections if one.transport is not None]
        await runner.cleanup()
        for transport in transports:
            transport.abort()
        sockets = [transport.get_extra_info("socket") for transport in transports]
        async with asyncio.timeout(10):
            while any(one.fileno() != -1 for one in sockets):
                await asyncio.sleep(0.01)
