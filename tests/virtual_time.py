"""An event loop whose time jumps to the next timer instead of passing: hours of a watch in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = 1_900_000_000.0


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, moves the time by what would have been waited."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        if not ready and timeout:
            self.time += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing may wait for the world outside: threads and sockets would be jumped over."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.time

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """At once: time would be jumped over while a thread works."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


def now() -> float:
    """Seconds since the epoch in virtual time."""
    return EPOCH + asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    """What SIGSTOP does to a process: time goes on, and nothing of it runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._jumping.time += seconds


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
