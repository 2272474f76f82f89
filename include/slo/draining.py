"""How much of the traffic a slot still serves after it was left: counters of both slots become a share over time.

New connections follow the switch at once; requests on connections that stayed open do not. What a pod served
between its last reading and its end is not known and not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from include.slo.samples import Snapshot
from include.slo.window import window_stats

Verdict = Literal["DRAINED", "LINGERING", "UNKNOWN"]


@dataclass(frozen=True)
class Look:
    """Both slots at one moment: the one that was left, and the one that takes the traffic."""

    left: Snapshot
    active: Snapshot

    @property
    def whole(self) -> bool:
        """Every running pod of both slots was read."""
        return all(one.pods and not one.unread for one in (self.left, self.active))


@dataclass(frozen=True)
class DrainPoint:
    """What happened since the look before.

    :param seconds: since the switch
    :param left: requests the slot that was left has answered; None when its pods could not all be read
    :param active: the same of the active slot
    :param streams: event streams that are open on the slot that was left; None when no pod told
    """

    seconds: float
    left: int | None
    active: int | None
    streams: int | None = None

    @property
    def share(self) -> float | None:
        """Share of the requests that the left slot still served; 0 when it served none, None when unknown."""
        if self.left is None or self.active is None:
            return None
        return self.left / (self.left + self.active) if self.left else 0.0

    @property
    def verdict(self) -> Verdict:
        """Whether anybody was still on the slot that was left."""
        if self.left is None:
            return "UNKNOWN"
        return "LINGERING" if self.left or self.streams else "DRAINED"

    @property
    def sentence(self) -> str:
        """The point in words."""
        if self.left is None or self.active is None or self.share is None:
            return f"{self.seconds:.1f} s after the switch: UNKNOWN, not every pod could be read"
        streams = f", {self.streams} open event stream(s)" if self.streams else ""
        of = f"{self.left} of {self.left + self.active} requests"
        return f"{self.seconds:.1f} s after the switch: {of} ({self.share:.1%}) on the slot that was left{streams}"


def drain_points(looks: Sequence[Look], *, switched_at: float) -> tuple[DrainPoint, ...]:
    """A point for each look but the first, which only is where counting begins.

    :param looks: in the order of time
    :param switched_at: seconds since the epoch
    """
    return tuple(last_point(looks[: end + 1], switched_at=switched_at) for end in range(1, len(looks)))


def last_point(looks: Sequence[Look], *, switched_at: float) -> DrainPoint:
    """What happened between the last look and the whole one before it.

    After a look that was not whole, the next point covers the time of both.

    :param looks: at least one, in the order of time
    """
    last = looks[-1]
    seconds = round(last.left.taken_at - switched_at, 1)
    before = [look for look in looks[:-1] if look.whole]
    if not last.whole or not before:
        return DrainPoint(seconds, None, None)
    # Counted from the first look on: a pod that was born since is counted whole, whenever it is read first.
    left = window_stats([look.left for look in (*before, last)])
    active = window_stats([look.active for look in (*before, last)])
    return DrainPoint(
        seconds=seconds,
        left=left.requests - window_stats([look.left for look in before]).requests,
        active=active.requests - window_stats([look.active for look in before]).requests,
        streams=left.sse_connections,
    )
