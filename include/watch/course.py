"""What tells one kind of watch from another; all else, reading, judging, telling, is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from include.slo.account import Account
from include.slo.samples import Observed
from include.watch.config import WatchOutcome
from include.watch.rhythm import Feed
from include.watch.sightings import Sightings


class Course(Protocol):
    """What a watch looks at besides, and what it does about what it sees."""

    def feeds(self, seen: Sightings) -> Iterator[Feed]:
        """What it reads besides metrics, slot and public URL."""

    async def fired(self, reason: str, *, detected_at: float, now: float) -> WatchOutcome | None:
        """Act on a trigger that fires; None when that is not possible yet: it is tried again while it fires.

        :param reason: which trigger, and what was seen
        :param detected_at: when it fired first, seconds since the epoch
        :param now: seconds since the epoch
        """

    def end(self, account: Account, observed: Observed, now: float) -> WatchOutcome:
        """Judge the window, which is over.

        :param now: seconds since the epoch
        """
