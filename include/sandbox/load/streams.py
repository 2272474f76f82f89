"""Clients of the event stream: they stay connected and come back when told, as browsers' EventSource does."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

from include.sandbox.load.http import Connection, Lost, Target, compose
from include.sandbox.load.records import Recorder, StreamEnd, StreamRecord

_RETRY_SECONDS = 1.0
_SILENCE_SECONDS = 20.0  # four heartbeats


class StreamClient:
    """One client; records each stream it had."""

    def __init__(self, number: int, target: Target, path: str, recorder: Recorder) -> None:
        self._number = number
        self._target = target
        self._path = path
        self._recorder = recorder
        self._retry = _RETRY_SECONDS

    async def run(self) -> None:
        """Stay connected; ends only by cancellation."""
        while True:
            await self._once()
            await asyncio.sleep(self._retry * random.uniform(1, 1.2))

    async def _once(self) -> None:
        opened_at = time.time()
        status: int | None = None
        slot = version = ""
        end: StreamEnd = "refused"
        error: str | None = None
        events = 0
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                connection = await Connection.open(self._target)
                status, headers, parts = await connection.stream(compose(self._target, "GET", self._path))
            slot, version = headers.get("x-slot", ""), headers.get("x-version", "")
            if status == 200:
                end = "cut"
                while part := await self._next(parts):
                    events += self._take(part)
                end = "clean"
        except TimeoutError:
            error = "timeout"
        except Lost as lost:
            error = lost.reason
        except asyncio.CancelledError:
            end = "stopped"
            raise
        finally:
            if connection:
                connection.close()
            self._recorder.stream(
                StreamRecord(
                    client=self._number,
                    opened_at=opened_at,
                    ended_at=time.time(),
                    status=status,
                    end=end,
                    error=error,
                    events=events,
                    slot=slot,
                    version=version,
                )
            )

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes:
        # Not wait_for: Python 3.11's forgets a cancellation that comes together with the result.
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await anext(parts, b"")

    def _take(self, part: bytes) -> int:
        """Heed what a part of the stream says; returns the number of its events."""
        for line in part.split(b"\n"):
            if line.startswith(b"retry:") and line[6:].strip().isdigit():
                self._retry = int(line[6:]) / 1000
        return part.count(b"event:")
