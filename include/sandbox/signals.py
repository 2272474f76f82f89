"""Ctrl-C and SIGTERM end the sandbox in order: everything that was started is stopped, then the program ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Turn the first signal into SystemExit (exit code 128 + number); later ones do not disturb the clean-up."""

    def end(number: int, frame: FrameType | None) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before: dict[int, Any] = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
