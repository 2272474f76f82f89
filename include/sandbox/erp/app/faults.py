"""Faults a version can be built with: what each one is, when it begins, and how it is brought about.

``FAULTS`` is a JSON object of fault names; a value is a number or ``{"value": …, "after_requests": …}``.
A fault with ``after_requests`` begins only once this process has served that many business requests, so
that smoke tests pass and real traffic meets it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

log = logging.getLogger("erp.faults")
EXIT_CODE = 70
_POLL_SECONDS = 0.1
_GROWTH_SECONDS = 0.25


@dataclass(frozen=True)
class Fault:
    """One fault: its strength in the unit its name says, and after how many business requests it begins."""

    value: float
    after_requests: int = 0


@dataclass(frozen=True)
class Faults:
    """All faults of a process; None means: not built in."""

    error_ratio: Fault | None = None
    latency_seconds: Fault | None = None
    crash_after_seconds: Fault | None = None
    readiness_flap_seconds: Fault | None = None
    memory_growth_bytes_per_second: Fault | None = None
    wrong_data: Fault | None = None

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read the ``FAULTS`` variable; empty means none.

        :raises ValueError: no JSON object, an unknown fault, a value that is no number
        """
        document = json.loads(text or "{}")
        if not isinstance(document, dict):
            raise ValueError("FAULTS must be a JSON object")  # noqa: TRY004 - wrong content, not a wrong call
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ValueError(f"unknown faults {unknown}; known: {sorted(known)}")
        return cls(**{name: _fault(name, value) for name, value in document.items()})


def _fault(name: str, value: Any) -> Fault:
    after: Any = 0
    if isinstance(value, dict):
        if set(value) - {"value", "after_requests"} or "value" not in value:
            raise ValueError(f'fault {name} must be a number or {{"value": …, "after_requests": …}}')
        value, after = value["value"], value.get("after_requests", 0)
    if not isinstance(value, int | float) or not isinstance(after, int) or value < 0 or after < 0:
        raise ValueError(f"fault {name}: value and after_requests must be numbers, not negative")
    return Fault(float(value), after)


class Injector:
    """The faults of this process at work; it counts the business requests that make them begin."""

    def __init__(self, faults: Faults, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.faults = faults
        self.served = 0
        self._clock = clock
        self._error_debt = 0.0
        self._flapping_since: float | None = None
        self._ballast: list[bytearray] = []

    def begun(self, fault: Fault | None) -> bool:
        """Whether the fault is built in and its number of requests has been served."""
        return fault is not None and self.served >= fault.after_requests

    def fails(self) -> bool:
        """Whether this request is to be answered with an error; hits the ratio exactly, evenly spread."""
        fault = self.faults.error_ratio
        if fault is None or not self.begun(fault):
            return False
        self._error_debt += fault.value
        if self._error_debt < 1 - 1e-9:  # binary fractions: ten times 0.1 is less than 1
            return False
        self._error_debt -= 1
        return True

    def latency(self) -> float:
        """Seconds to wait before a business answer."""
        fault = self.faults.latency_seconds
        return fault.value if fault is not None and self.begun(fault) else 0.0

    def corrupts(self) -> bool:
        """Whether answers are to look healthy and be wrong."""
        fault = self.faults.wrong_data
        return fault is not None and fault.value > 0 and self.begun(fault)

    def unready(self) -> bool:
        """Whether readiness is in a low phase: starts low, then changes every ``readiness_flap_seconds``."""
        fault = self.faults.readiness_flap_seconds
        if fault is None or not self.begun(fault):
            return False
        now = self._clock()
        if self._flapping_since is None:
            self._flapping_since = now
        return int((now - self._flapping_since) / max(fault.value, 0.001)) % 2 == 0

    async def run(self) -> None:
        """Bring about what happens by itself: crash and memory growth. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._crash(self.faults.crash_after_seconds))
            group.create_task(self._grow(self.faults.memory_growth_bytes_per_second))

    async def _crash(self, fault: Fault | None) -> None:
        if fault is None:
            return
        while not self.begun(fault):
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(fault.value)
        log.error("fault: crash")
        os._exit(EXIT_CODE)  # like a segmentation fault: no clean-up, no drain

    async def _grow(self, fault: Fault | None) -> None:
        if fault is None:
            return
        while not self.begun(fault):
            await asyncio.sleep(_POLL_SECONDS)
        while True:
            # Written to, so that the pages are resident and not merely reserved.
            self._ballast.append(bytearray(b"x" * int(fault.value * _GROWTH_SECONDS)))
            await asyncio.sleep(_GROWTH_SECONDS)
