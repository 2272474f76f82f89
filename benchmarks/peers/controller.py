"""A peer's controller as a process: killed by its id, and started again as a Deployment would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from include.sandbox.processes import Process

RESTART_SECONDS: Final = 0.5  # what the sandbox waits before it starts a component of Airflow again


class Controller:
    """One program that decides."""

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path) -> None:
        self._process = Process(name, argv, log=log)

    def start(self) -> None:
        """Start it."""
        self._process.start()

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def kill_and_restart(self) -> None:
        """SIGKILL it and start it again."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        time.sleep(RESTART_SECONDS)
        self._process.start()
