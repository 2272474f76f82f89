"""The calendar's bad news: what does not begin as the plan says, for people to hear of and not its log alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from include.errors import InvalidPlan
from include.plan.calendar import Decision, Say
from include.plan.loader import Plan
from include.plan.models import Environment, ImageRef, Release
from include.steps.page import Matter
from include.steps.run import ReleaseRun

CALENDAR: Final = "release-calendar"

OLD_AFTER: Final = timedelta(days=7)
"""So long after it was given up, a phase that was missed is no news any more."""

_ONCE: Final = (Say.MISSED, Say.FAILED)
_WHAT: Final[Mapping[Say, tuple[str, str]]] = {
    Say.MISSED: (
        "{phases} did not begin, and is too late to do so by itself",
        "start it by hand, or move the date",
    ),
    Say.FAILED: ("{phases} has not succeeded, and what comes after it waits", "look at its run"),
    Say.BLOCKED: (
        "{phases} is due and waits for what has not succeeded",
        "bring to an end what it waits for; what was done by hand is recorded with the DAG phase-by-hand",
    ),
    Say.REFUSED: ("{phases} is due and is not started", "correct the file; `make validate` shows the same"),
    Say.UNKNOWN: ("{phases} is due and is not started: nobody knows what has been", "bring the ledger back"),
}
_FILE: Final = re.compile(r"/releases/(?P<version>[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?)\.yaml\b")


@dataclass(frozen=True)
class News:
    """What people are called for, and as what: the calendar's run for a release."""

    run: ReleaseRun
    matter: Matter


def bad_news(plan: Plan, decisions: Sequence[Decision], now: datetime) -> tuple[News, ...]:
    """What people have to hear of; once, or once a day as long as it can still be mended.

    :param now: aware
    """
    return (*_of_phases(plan, decisions, now), *_of_files(plan, now))


def dead_end(plan: Plan, due: Decision, seen: str, remedy: str, now: datetime) -> News | None:
    """What people have to hear of a due phase that Airflow cannot start; None where nobody can be told.

    :param seen: why it cannot
    :param remedy: what to do
    :param now: aware
    """
    entry = due.entry
    environment = _told_through(plan, entry.environment)
    if environment is None:
        return None
    release = plan.releases[entry.key.release]
    matter = Matter(
        _key("dead-end", entry.key.phase, now.date()),
        f"{entry.key.phase} is due and cannot be started",
        seen,
        f"{remedy}; it is tried every minute until {entry.until.astimezone(release.zone):%Y-%m-%d %H:%M %Z}",
    )
    return News(_run(release, environment), matter)


def _of_phases(plan: Plan, decisions: Sequence[Decision], now: datetime) -> Iterator[News]:
    grouped: dict[tuple[str, Say], list[Decision]] = {}
    for one in decisions:
        if one.say in _WHAT and now < one.entry.until + OLD_AFTER:
            grouped.setdefault((one.entry.key.release, one.say), []).append(one)
    for (version, say), found in grouped.items():
        environment = _told_through(plan, found[0].entry.environment)
        if environment is None:
            continue
        days = [one.entry.at.astimezone(UTC).date() for one in found] if say in _ONCE else [now.date()]
        phases = [one.entry.key.phase for one in found]
        what, remedy = _WHAT[say]
        matter = Matter(
            _key(say.value, "+".join(phases), max(days)),
            what.format(phases=", ".join(phases)),
            "; ".join(f"{one.entry.key.phase}: {one.why}" for one in found),
            remedy,
        )
        yield News(_run(plan.releases[version], environment), matter)


def _of_files(plan: Plan, now: datetime) -> Iterator[News]:
    environment = _told_through(plan, "production")
    for problem in plan.problems:
        named = _FILE.search(problem.what)
        if named and environment:
            yield News(_run(_unread(named["version"]), environment), _broken(problem, now))


def _broken(problem: InvalidPlan, now: datetime) -> Matter:
    return Matter(
        _key("broken", "file", now.date()),
        "the calendar starts nothing of this release: its file is broken",
        problem.what,
        "correct the file; `make validate` shows the same",
    )


def _told_through(plan: Plan, name: str) -> Environment | None:
    return plan.environments.get(name) or next(iter(plan.environments.values()), None)


def _run(release: Release, environment: Environment) -> ReleaseRun:
    return ReleaseRun(release, environment, Path(environment.chart), CALENDAR, CALENDAR, None)


def _unread(version: str) -> Release:
    """Stands in for a release whose file nobody can read: its version is all that is known."""
    image = ImageRef(repository="unknown", tag="unknown")
    return Release(version=version, previous="0.0.0-unknown", date=date.max.replace(year=2199), image=image)


def _key(say: str, what: str, day: date) -> str:
    return f"calendar:{say}:{what}:{day}"
