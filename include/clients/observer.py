"""The independent prober: asks the public URL at a fixed rate, whatever the process that started it is doing.

It lives in a thread with a loop of its own: a ledger that takes its time must not look like users who wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final

from include.bluegreen.observation import Probe
from include.clients.prober import check
from include.plan.models import Prober, SmokeCheck

LONGEST_SECONDS: Final = 120.0


class Observer:
    """Open loop: requests leave at their times, nothing is tried twice, each has a connection of its own.

    :param base_url: for example ``https://erp.example.com``
    :param smoke: the request and the answer it expects
    """

    def __init__(self, base_url: str, smoke: SmokeCheck, settings: Prober) -> None:
        self._base_url = base_url
        self._smoke = smoke.model_copy(update={"timeout_seconds": settings.timeout_seconds})
        self._interval = 1.0 / settings.requests_per_second
        self._timeout = settings.timeout_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name="observer", daemon=True)
        self._probes: list[Probe] = []
        self._failure: Exception | None = None

    def start(self) -> None:
        """Begin sending. It ends by itself after two minutes, whoever forgets it."""
        self._thread.start()

    @property
    def failure(self) -> Exception | None:
        """What ended the prober itself; None while it works."""
        return self._failure

    def probes(self) -> tuple[Probe, ...]:
        """The requests that have come to an end so far."""
        return tuple(self._probes)

    def stop(self) -> None:
        """Send no more; does not wait for what is under way."""
        self._ended.set()

    async def finish(self) -> tuple[Probe, ...]:
        """Send no more, wait for what is under way, and return every request."""
        self.stop()
        await asyncio.to_thread(self._thread.join, self._timeout + 1.0)
        return self.probes()

    def _main(self) -> None:
        try:
            asyncio.run(self._send())
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to; whoever asks is told
            self._failure = error

    async def _send(self) -> None:
        began = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        number = 0
        while not self._ended.is_set() and time.monotonic() - began < LONGEST_SECONDS:
            task = asyncio.create_task(self._one())
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number * self._interval - time.monotonic()))
        if running:
            await asyncio.wait(running)

    async def _one(self) -> None:
        sent_at = time.time()
        try:
            result = await check(self._base_url, self._smoke)
        except Exception as error:  # noqa: BLE001 - the check makes everything a result; this is a defect of ours
            self._failure = error
            return
        problem = "" if result.ok else result.sentence
        self._probes.append(Probe(sent_at, result.seconds, result.ok, result.slot, problem))
