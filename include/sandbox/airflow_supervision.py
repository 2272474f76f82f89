"""One of Airflow's components, looked after: started again when it ends, stopped in order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass, field

from include.errors import SandboxError
from include.sandbox.processes import Process, wait_until

_BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STABLE_SECONDS = 60.0
_ORDERLY_STOP_SECONDS = 5.0


@dataclass
class Supervised:
    """One component's process and how often it had to be started again."""

    process: Process
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0
    retry_at: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look_after(self, now: float) -> None:
        """Start it again when it has ended: at once after a long life, else after a growing pause."""
        if self.process.alive:
            return
        if self.retry_at is None:
            if now - self.started_at > _STABLE_SECONDS:
                self.failures = 0
            delay = _BACK_OFF_SECONDS[min(self.failures, len(_BACK_OFF_SECONDS) - 1)]
            self.failures += 1
            self.retry_at = now + delay
        elif now >= self.retry_at:
            self.retry_at = None
            self.restarts += 1
            self.started_at = now
            with contextlib.suppress(SandboxError):  # tried again after the next, longer pause
                self.process.start()

    def end(self) -> None:
        """Stop a component in the way that lets it leave in order.

        A scheduler's whole group is told at once, so that running tasks end and are not waited for. The others
        end their own children: told at the same time as those, the triggerer waits in vain for its own.
        """
        if not self.process.name.startswith("scheduler") and self.process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(SandboxError):
                wait_until(
                    lambda: not self.process.alive,
                    deadline_seconds=_ORDERLY_STOP_SECONDS,
                    what=f"{self.process.name} to stop",
                )
        self.process.stop()
