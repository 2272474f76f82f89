"""What the calendar starts now, what waits, what is held up and what was missed: decided from the plan alone.

A phase of a release is started at most once, whatever becomes of its date; the run's id says so
(:func:`run_id`), and what has been started is told by the caller. Nothing is ever started long after its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from include.plan.release import Release
from include.plan.timeline import EnvironmentName, PhaseName

FORGOTTEN_AFTER: Final = timedelta(days=30)
"""So long after the last phase of a release nobody is told any more what became of it."""


class Standing(Enum):
    """What is known to have become of a phase."""

    NOT_STARTED = "not started"
    STARTED = "running"
    GONE = "begun by a run that was deleted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Say(Enum):
    """What the calendar says of a phase at a moment."""

    WAITING = "waiting"
    START = "start"
    BLOCKED = "blocked"
    MISSED = "missed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


_BY_STANDING: Final = {
    Standing.STARTED: Say.RUNNING,
    Standing.GONE: Say.FAILED,
    Standing.SUCCEEDED: Say.DONE,
    Standing.FAILED: Say.FAILED,
    Standing.UNKNOWN: Say.UNKNOWN,
}


@dataclass(frozen=True)
class PhaseKey:
    """One phase of one release; what is started at most once."""

    release: str
    phase: PhaseName


@dataclass(frozen=True)
class Entry:
    """A phase as the calendar has it.

    :param at: when it is due, aware
    :param until: when it is too late to start it
    :param after: phases of the same release that have to have succeeded
    :param refused: why the release is not to be started at all; empty: it may be
    """

    key: PhaseKey
    environment: EnvironmentName
    at: datetime
    until: datetime
    after: tuple[PhaseName, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def conf(self) -> dict[str, str]:
        """What the phase's DAG is started with."""
        return {"release": self.key.release, "environment": self.environment, **self.params}


@dataclass(frozen=True)
class Decision:
    """What the calendar says of an entry, and why in a clause."""

    entry: Entry
    say: Say
    why: str


def run_id(key: PhaseKey) -> str:
    """The id of the run that the calendar starts: without the date, so that a moved release is no other one."""
    return f"{key.release}__{key.phase}"


def entries(releases: Iterable[Release], refused: Mapping[str, str] | None = None) -> tuple[Entry, ...]:
    """Every phase of every release, by time.

    :param refused: version to why none of its phases is to be started
    """
    found = [
        Entry(
            key=PhaseKey(release.version, due.name),
            environment=due.planned.phase.environment,
            at=due.at,
            until=due.at + timedelta(minutes=due.planned.late_minutes),
            after=due.planned.after,
            params=due.planned.phase.params,
            refused=(refused or {}).get(release.version, ""),
        )
        for release in releases
        for due in release.phases
    ]
    return tuple(sorted(found, key=lambda entry: (entry.at, entry.key.release, entry.key.phase)))


def current(all_entries: Sequence[Entry], now: datetime) -> tuple[Entry, ...]:
    """The entries of every release that is not over since long."""
    kept = {entry.key.release for entry in all_entries if now < entry.at + FORGOTTEN_AFTER}
    return tuple(entry for entry in all_entries if entry.key.release in kept)


def decide(
    all_entries: Sequence[Entry], standings: Mapping[PhaseKey, Standing], now: datetime
) -> tuple[Decision, ...]:
    """What to do with every phase, by time.

    :param standings: what became of phases; one whose time has come and that is missing here is not known, and
        nothing relies on it
    :param now: aware
    """
    return tuple(_decide(entry, standings, now) for entry in all_entries)


def _decide(entry: Entry, standings: Mapping[PhaseKey, Standing], now: datetime) -> Decision:
    # Before its time a phase may have been started by hand; where nobody looked, it is waiting.
    standing = standings.get(entry.key, Standing.UNKNOWN if entry.at <= now else Standing.NOT_STARTED)
    if standing is Standing.UNKNOWN and entry.refused:
        return Decision(entry, Say.REFUSED, entry.refused)
    if standing is not Standing.NOT_STARTED:
        return Decision(entry, _BY_STANDING[standing], _OF_STANDING[standing])
    if now < entry.at:
        return Decision(entry, Say.WAITING, f"due in {spoken(entry.at - now)}")
    if now > entry.until:
        late = spoken(now - entry.at)
        return Decision(entry, Say.MISSED, f"due {late} ago, too late to start by itself; start it by hand")
    if entry.refused:
        return Decision(entry, Say.REFUSED, entry.refused)
    if missing := [name for name in entry.after if _of(standings, entry, name) is not Standing.SUCCEEDED]:
        told = ", ".join(f"{name} ({_of(standings, entry, name).value})" for name in missing)
        left = spoken(entry.until - now)
        return Decision(entry, Say.BLOCKED, f"waits for {told}; it is given up in {left}")
    return Decision(entry, Say.START, f"due since {spoken(now - entry.at)}")


_OF_STANDING: Final = {
    Standing.STARTED: "has been started",
    Standing.GONE: "was begun by a run that was deleted; start it by hand and say why (repeat_reason)",
    Standing.SUCCEEDED: "has succeeded",
    Standing.FAILED: "has failed; clear its run to repeat it",
    Standing.UNKNOWN: "nobody could say whether it has been started; nothing is started",
}


def _of(standings: Mapping[PhaseKey, Standing], entry: Entry, name: PhaseName) -> Standing:
    return standings.get(PhaseKey(entry.key.release, name), Standing.UNKNOWN)


def spoken(span: timedelta) -> str:
    """A span of time for sentences, in its two largest units: ``3 d 4 h``, ``12 min``, ``40 s``."""
    seconds = max(0, int(span.total_seconds()))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
