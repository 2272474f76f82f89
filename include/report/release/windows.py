"""The cutovers of a release: what was measured while each was watched, and the requests that each cost."""

from __future__ import annotations

from typing import Final

from include.report.postmortem.incident import Incident, incidents
from include.report.postmortem.marks import marks
from include.report.postmortem.numbers import numbers
from include.report.postmortem.series import limits, over, series
from include.report.postmortem.timeline import timeline
from include.report.release.history import History
from include.report.release.model import Happening, Switch, Window

FORWARD: Final = "Umschaltung"
BACK: Final = "Rückschaltung"


def watched(history: History) -> tuple[tuple[Incident, Window], ...]:
    """Every run of every environment with what was measured in it, in the order they began."""
    found = []
    for environment in history.environments:
        for incident in incidents(history.within(environment)):
            recorded = series(incident)
            known = marks(incident, recorded)
            by_name = {mark.name: mark for mark in known}
            turning, back = by_name.get("cutover"), by_name.get("switched")
            recorded = over(recorded, turning.at if turning else None, back.at if back else None)
            window = Window(
                release=history.release,
                environment=environment,
                run_id=incident.run_id,
                marks=known,
                series=recorded,
                limits=limits(incident),
                numbers=numbers(incident, recorded),
            )
            found.append((incident, window))
    return tuple(found)


def switches(found: tuple[tuple[Incident, Window], ...]) -> tuple[Switch, ...]:
    """Every time traffic moved, with what it cost, the oldest first."""
    told = []
    for incident, window in found:
        cutover, back = window.mark("cutover"), window.mark("switched")
        if cutover and incident.of("cutover.done", "cutover.observed"):
            told.append(Switch(cutover.at, FORWARD, window.environment, window.numbers.forward))
        if back:
            told.append(Switch(back.at, BACK, window.environment, window.numbers.back))
    return tuple(sorted(told, key=lambda one: one.at))


def happenings(found: tuple[tuple[Incident, Window], ...]) -> tuple[Happening, ...]:
    """What happened in all environments, in the order of time."""
    told = [
        Happening(event, window.environment)
        for incident, window in found
        for event in timeline(incident, window.marks)
    ]
    return tuple(sorted(told, key=lambda one: (one.event.at, one.event.sequence)))
