"""Leaving without losing a request: what a process does between SIGTERM and its end.

The cluster takes the pod out of its Services at about the time of SIGTERM, not before it. So a draining
process goes on serving, tells every connection it sees to close (``Connection: close``), ends its event
streams, and leaves only when its time is up, nothing is in flight and no request came for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

log = logging.getLogger("erp.drain")
QUIET_SECONDS = 0.5
_POLL_SECONDS = 0.05


class Drain:
    """The state of leaving; ``begin`` is called once, by the signal."""

    def __init__(
        self, seconds: float, limit_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.begun = asyncio.Event()
        self._seconds = seconds
        self._limit_seconds = max(limit_seconds, seconds)
        self._clock = clock
        self._began_at = 0.0
        self._in_flight = 0
        self._last_request_at = float("-inf")

    @property
    def draining(self) -> bool:
        """Whether the process is leaving."""
        return self.begun.is_set()

    def begin(self) -> None:
        """Start leaving; a second call changes nothing."""
        if not self.draining:
            self._began_at = self._clock()
            self.begun.set()
            log.info("draining", extra={"fields": {"drain_seconds": self._seconds}})

    def enter(self) -> None:
        """A request arrived."""
        self._in_flight += 1
        self._last_request_at = self._clock()

    def leave(self) -> None:
        """A request's answer is complete."""
        self._in_flight -= 1

    def over(self) -> bool:
        """Whether the process may end now."""
        if not self.draining:
            return False
        now = self._clock()
        elapsed = now - self._began_at
        quiet = self._in_flight == 0 and now - self._last_request_at >= QUIET_SECONDS
        return (elapsed >= self._seconds and quiet) or elapsed >= self._limit_seconds

    async def wait(self) -> None:
        """Return when the process may end."""
        await self.begun.wait()
        while not self.over():
            await asyncio.sleep(_POLL_SECONDS)
        log.info("drained", extra={"fields": {"in_flight": self._in_flight}})
