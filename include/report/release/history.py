"""A release as the ledger holds it: all environments, all runs, and the plan that was in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from include.errors import LedgerError
from include.ledger.chain import head_of
from include.ledger.entry import Entry, Head
from include.report.names import OWN
from include.report.text import happened

PLANNED: Final = "plan.recorded"
MAIN: Final = "production"
"""Where a release has its outcome."""

DEFAULT_TIMEZONE: Final = "Europe/Berlin"
"""Of a release whose plan the ledger does not hold."""


@dataclass(frozen=True)
class History:
    """The entries of one release, in the ledger's order, but for those about reports."""

    release: str
    entries: tuple[Entry, ...]

    def of(self, *kinds: str, environment: str | None = None) -> tuple[Entry, ...]:
        """Its entries of these kinds."""
        return tuple(
            entry
            for entry in self.entries
            if entry.kind in kinds and (environment is None or entry.environment == environment)
        )

    def within(self, environment: str) -> tuple[Entry, ...]:
        """Its entries of one environment."""
        return tuple(entry for entry in self.entries if entry.environment == environment)

    @property
    def environments(self) -> tuple[str, ...]:
        """In the order they were first used."""
        return tuple(dict.fromkeys(entry.environment for entry in self.entries))

    @property
    def main(self) -> str:
        """The environment that the outcome is of: production, else where it got last."""
        return MAIN if MAIN in self.environments else self.entries[-1].environment

    @property
    def started(self) -> datetime:
        """When the first thing happened."""
        return min(map(happened, self.entries))

    @property
    def ended(self) -> datetime:
        """When the last thing happened."""
        return max(map(happened, self.entries))

    @property
    def head(self) -> Head:
        """Stands for the whole ledger up to the newest of these entries."""
        return head_of(self.entries)

    @property
    def plans(self) -> tuple[Entry, ...]:
        """The plan each time it changed, the one in force last."""
        return self.of(PLANNED)

    @cached_property
    def plan(self) -> Mapping[str, Any]:
        """The plan that is in force; empty when the ledger holds none."""
        return self.plans[-1].payload if self.plans else {}

    @cached_property
    def checklists(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Checklist → its points, as the plan in force has them where the release is to go."""
        own = [entry.payload for entry in self.plans if entry.environment == self.main]
        lists = own[-1].get("checklists") if own else None
        return {
            str(name): [point for point in points if isinstance(point, dict)]
            for name, points in (lists if isinstance(lists, dict) else {}).items()
            if isinstance(points, list)
        }

    @cached_property
    def zone(self) -> ZoneInfo:
        """In which times are told."""
        try:
            return ZoneInfo(str(self.plan.get("timezone") or DEFAULT_TIMEZONE))
        except (KeyError, ValueError, OSError):
            return ZoneInfo(DEFAULT_TIMEZONE)

    @property
    def day(self) -> date | None:
        """T-0 by the plan in force."""
        return day_of(self.plan)

    def planned(self, group: str, name: str) -> datetime | None:
        """When the plan in force has something.

        :param group: ``steps``, ``status`` or ``mails``
        """
        return time_of(self.plan, group, name)


def of_release(entries: Sequence[Entry]) -> History:
    """Take the entries of one release, any environments and runs, in the ledger's order.

    :raises LedgerError: there are none, or they belong to several releases
    """
    kept = tuple(entry for entry in entries if entry.kind not in OWN)
    releases = sorted({entry.release for entry in kept})
    if len(releases) != 1:
        raise LedgerError(
            "a report needs the entries of one release",
            expected="one version",
            seen=", ".join(releases) or "none",
            remedy="name a release that the ledger knows: python -m include.ledger show",
        )
    return History(releases[0], kept)


def day_of(plan: Mapping[str, Any]) -> date | None:
    """T-0 of a recorded plan."""
    try:
        return date.fromisoformat(str(plan.get("date")))
    except ValueError:
        return None


def time_of(plan: Mapping[str, Any], group: str, name: str) -> datetime | None:
    """A time of a recorded plan; None when it has none, or one that cannot be read."""
    times = plan.get(group)
    told = times.get(name) if isinstance(times, dict) else None
    try:
        found = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None
