"""How long something has been so without a break, when not every look at it saw anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Lasting:
    """A state that the newest look that saw anything found, and the unbroken run of looks before it.

    :param seconds: proven length of the run
    :param last_at: its newest look, seconds since the epoch
    """

    seconds: float
    last_at: float


def lasting(looks: Iterable[tuple[float, bool | None]], *, gap_seconds: float) -> Lasting | None:
    """The run of true looks that ends with the newest one that knows; None when that is false, or there is none.

    A look that does not know (None) neither proves nor ends the run: time between two true looks counts, but of a
    longer gap only ``gap_seconds``.

    :param looks: (seconds since the epoch, what was seen), **newest first**; read no further than needed
    """
    run: Lasting | None = None
    earliest = 0.0
    for at, seen in looks:
        if seen is None:
            continue
        if not seen:
            break
        proven = min(earliest - at, gap_seconds) if run else 0.0
        run = Lasting((run.seconds if run else 0.0) + proven, run.last_at if run else at)
        earliest = at
    return run
