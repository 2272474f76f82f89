"""What a release's plan promises, as data: times, messages, checklists. The ledger keeps it for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.plan.models import Environment, Release
from include.plan.moments import moment


def schedule(release: Release, environment: Environment) -> Mapping[str, Any]:
    """The promises of a release in one environment.

    :return: ``steps`` (the top-level phases, then the hours of T-0), ``status`` and ``mails`` with their times in
        UTC, ``checklists`` with the role that ticks each point (None where a record settles it), and what the
        release says of itself
    """
    zone, told = release.zone, release.communication
    steps: dict[str, str] = {due.name: due.at.isoformat() for due in release.phases}
    steps |= {name: release.at(name).isoformat() for name in release.day.hours}
    return {
        "previous": release.previous,
        "title": release.title,
        "date": release.date.isoformat(),
        "timezone": release.timezone,
        "downtime_minutes": release.downtime_minutes,
        "steps": steps,
        "status": {one.event: moment(release.date, f"T-0 {one.at}", zone).isoformat() for one in told.status},
        "mails": {one.event: moment(release.date, one.at, zone).isoformat() for one in told.mails},
        "checklists": {
            name: [{"text": item.text, "role": item.role} for item in items]
            for name, items in environment.checklists.items()
        },
    }
