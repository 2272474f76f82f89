"""The port behind which metrics are read; one adapter for each place they come from is in ``include.clients``."""

from __future__ import annotations

from typing import Protocol

from include.plan.models import Slot
from include.plan.rules import SourceName
from include.slo.samples import Snapshot


class Source(Protocol):
    """Metrics of one slot at a time. Whatever goes wrong is a sentence in a snapshot's errors, never a value."""

    @property
    def name(self) -> SourceName:
        """Which one it is."""

    async def look(self, slot: Slot, now: float) -> Snapshot:
        """Read what is known now; never raises for a source that is out.

        :param now: seconds since the epoch
        """

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        """Read what the source itself remembers of a span of time; empty where it remembers nothing.

        :param since: seconds since the epoch
        :param until: the same
        :raises MetricsError: the source remembers, but gives no usable answer
        """
