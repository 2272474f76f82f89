"""Several processes as one: started in order, restarted where wanted, stopped in reverse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from include.errors import SandboxError
from include.sandbox.processes import Process, wait_until


@dataclass(frozen=True)
class Restart:
    """How often a component that ended may be started again.

    :param limit: restarts within `window_seconds` before giving up
    """

    limit: int = 0
    window_seconds: float = 60.0


NEVER = Restart()


@dataclass
class _Component:
    process: Process
    restart: Restart
    restarts: list[float] = field(default_factory=list)


class Supervisor:
    """Starts components in order and stops them in reverse; a context manager.

    Inside `signals.end_on_signals`, Ctrl-C and SIGTERM stop everything that was started so far.
    """

    def __init__(self) -> None:
        self._components: list[_Component] = []

    def start(
        self,
        process: Process,
        *,
        ready: Callable[[], object] | None = None,
        deadline_seconds: float = 30.0,
        restart: Restart = NEVER,
    ) -> Process:
        """Start `process` and wait until it is ready.

        :param ready: waited for, at most `deadline_seconds`
        :raises SandboxError: it does not start or does not become ready; it is stopped with the others
        """
        self._components.append(_Component(process, restart))
        process.start()
        if ready is not None:
            wait_until(ready, deadline_seconds=deadline_seconds, what=f"{process.name} is ready", process=process)
        return process

    def check(self) -> None:
        """Restart components that ended, as far as their policy allows.

        :raises SandboxError: one ended that may not be restarted (any more), with its log tail
        """
        for component in self._components:
            process = component.process
            if process.alive:
                continue
            now = time.monotonic()
            component.restarts = [at for at in component.restarts if now - at < component.restart.window_seconds]
            if len(component.restarts) >= component.restart.limit:
                raise SandboxError(
                    f"{process.name} ended",
                    expected="it runs until it is stopped",
                    seen=f"exit code {process.exit_code}\n--- {process.log}\n{process.log_tail()}",
                )
            component.restarts.append(now)
            process.start()

    def run(self, *, until: threading.Event | None = None, poll_seconds: float = 0.5) -> None:
        """Check the components until `until` is set (or a signal ends the program)."""
        until = until or threading.Event()
        while not until.wait(poll_seconds):
            self.check()

    def stop(self) -> None:
        """Stop everything in reverse order; one that fails to stop does not keep the others running."""
        problems: list[Exception] = []
        while self._components:
            process = self._components.pop().process
            try:
                process.stop()
            except (OSError, SandboxError) as error:
                problems.append(error)
        if problems:
            raise SandboxError("not everything stopped", seen="; ".join(map(str, problems)))

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
