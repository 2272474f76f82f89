"""The event stream: orders of all pods, passed on to every open stream of this one.

Events are collected for a moment and sent together, so that many streams cost little. A stream ends
cleanly when the process drains, with a hint how soon to come back; the hints differ from stream to
stream, or all clients would return in the same instant.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from .drain import Drain
from .metrics import Metrics

HEARTBEAT_SECONDS = 5.0
_BATCH_SECONDS = 0.5
_RETRY_MILLISECONDS = (100, 800)
_BACKLOG = 64  # a client that cannot keep up loses the oldest batches, not the connection


class Hub:
    """Spreads published events to the open streams."""

    def __init__(self, metrics: Metrics, drain: Drain) -> None:
        self._metrics = metrics
        self._drain = drain
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._pending: list[bytes] = []

    def publish(self, kind: str, data: str) -> None:
        """Send an event to all streams with the next batch; ``data`` is one line."""
        self._pending.append(f"event: {kind}\ndata: {data}\n\n".encode())

    async def run(self) -> None:
        """Send batches; ends only by cancellation."""
        while True:
            await asyncio.sleep(_BATCH_SECONDS)
            if not self._pending:
                continue
            batch = b"".join(self._pending)
            self._pending.clear()
            for queue in self._queues:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(batch)

    async def stream(self, hello: str) -> AsyncIterator[bytes]:
        """One client's stream: a greeting, batches, heartbeats, and a farewell when the process drains."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_BACKLOG)
        self._queues.add(queue)
        self._metrics.streams.inc()
        leaving = asyncio.ensure_future(self._drain.begun.wait())
        arriving = asyncio.ensure_future(queue.get())
        try:
            yield f"retry: 1000\nevent: hello\ndata: {hello}\n\n".encode()
            while not leaving.done():
                done, _ = await asyncio.wait(
                    {arriving, leaving}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if arriving in done:
                    yield arriving.result()
                    arriving = asyncio.ensure_future(queue.get())
                elif not done:
                    yield b": alive\n\n"
            retry = random.randint(*_RETRY_MILLISECONDS)
            yield f"retry: {retry}\nevent: bye\ndata: draining\n\n".encode()
        finally:
            leaving.cancel()
            arriving.cancel()
            self._queues.discard(queue)
            self._metrics.streams.dec()
