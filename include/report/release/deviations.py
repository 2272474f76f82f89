"""Where a release left its plan: found in the ledger, told in the order in which somebody wants to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

from include.report.release.history import History, day_of, time_of
from include.report.release.model import Deviation, Message, Step, Switch
from include.report.release.recorded import recorded, text
from include.report.text import duration

_TOLD_TO_USERS: Final = ("database_migration", "cutover")
"""Steps that must not come earlier than announced, either."""

_LISTS: Final = {"preparation": "release-preparation", "final-check": "final-check", "standby": "release-day"}
"""Checklist → the phase that begins with it."""

_MESSAGE_PATIENCE: Final = timedelta(minutes=15)
_A_DAY: Final = timedelta(days=1)


def deviations(
    history: History, steps: tuple[Step, ...], switches: tuple[Switch, ...], messages: tuple[Message, ...]
) -> tuple[Deviation, ...]:
    """Every deviation that the ledger shows."""
    return (
        *_lost(switches),
        *_moved(history),
        *_times(history, steps),
        *recorded(history),
        *_ticks(history),
        *_messages(messages),
        *_unrecorded(steps),
    )


def _lost(switches: tuple[Switch, ...]) -> Iterator[Deviation]:
    for switch in switches:
        loss = switch.loss
        where = f"{switch.what} in {switch.environment}"
        if loss.lost is None:
            yield Deviation("Verluste nicht bekannt", f"{where}: {loss.sentence}")
        elif loss.lost:
            yield Deviation("Verlorene Anfragen", f"{where}: {loss.lost} von {loss.sent} Anfragen des Prüfers")


def _moved(history: History) -> Iterator[Deviation]:
    for before, after in pairwise(history.plans):
        old, new = day_of(before.payload), day_of(after.payload)
        if old != new and old and new:
            yield Deviation("Termin verschoben", f"von {old:%d.%m.%Y} auf {new:%d.%m.%Y}", after.sequence)
            continue
        changed = [
            name
            for name in _names(before.payload, after.payload)
            if time_of(before.payload, "steps", name) != time_of(after.payload, "steps", name)
        ]
        if changed:
            yield Deviation("Zeiten geändert", ", ".join(changed), after.sequence)


def _names(*plans: Mapping[str, Any]) -> list[str]:
    steps = [plan.get("steps") for plan in plans]
    return sorted({str(name) for one in steps if isinstance(one, dict) for name in one})


def _times(history: History, steps: tuple[Step, ...]) -> Iterator[Deviation]:
    cutover = next((step for step in steps if step.name == "cutover"), None)
    other_day = cutover and cutover.delay is not None and abs(cutover.delay) >= _A_DAY
    if cutover and other_day and cutover.actual and cutover.planned:
        yield Deviation(
            "An einem anderen Tag",
            f"Umschaltung am {cutover.actual.astimezone(history.zone):%d.%m.%Y}, geplant war der "
            f"{cutover.planned.astimezone(history.zone):%d.%m.%Y}",
            cutover.sequence,
        )
    for step in steps:
        if step.delay is None or (other_day and abs(step.delay) >= _A_DAY):
            continue
        if step.state == "late":
            yield Deviation("Später als geplant", f"{step.told}: {duration(step.delay)} später", step.sequence)
        elif step.state == "early" and step.name in _TOLD_TO_USERS:
            yield Deviation("Früher als geplant", f"{step.told}: {duration(-step.delay)} früher", step.sequence)


def _ticks(history: History) -> Iterator[Deviation]:
    """Points that a role had to tick and did not, of every list that was begun."""
    ticked: dict[str, set[str]] = {}
    for entry in history.of("checklist.ticked"):
        points = entry.payload.get("points")
        found = map(str, points) if isinstance(points, list) else ()
        ticked.setdefault(text(entry, "checklist"), set()).update(found)
    begun = {text(entry, "phase") for entry in history.of("phase.started")}
    for name, items in history.checklists.items():
        wanted = [str(one.get("text")) for one in items if one.get("role")]
        missing = [point for point in wanted if point not in ticked.get(name, set())]
        if missing and (name in ticked or _LISTS.get(name) in begun):
            yield Deviation("Haken fehlt", f"{name}: {', '.join(missing)}")


def _messages(messages: tuple[Message, ...]) -> Iterator[Deviation]:
    for message in messages:
        if message.at is None:
            tried = f", {message.failed} Versuche" if message.failed else ""
            yield Deviation("Nachricht nicht zugestellt", f"{message.told} an {message.audience}{tried}")
        elif message.planned and _MESSAGE_PATIENCE < message.at - message.planned < _A_DAY:
            late = duration(message.at - message.planned)
            yield Deviation("Nachricht später als geplant", f"{message.told} an {message.audience}: {late} später")


def _unrecorded(steps: tuple[Step, ...]) -> Iterator[Deviation]:
    missing = [step.told for step in steps if step.state == "missing"]
    if missing:
        yield Deviation("Ohne Eintrag im Ledger", f"Im Plan, und nichts davon festgehalten: {', '.join(missing)}")
