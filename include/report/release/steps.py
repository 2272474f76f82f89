"""The plan's steps beside what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from include.ledger.entry import Entry
from include.report.release.history import History
from include.report.release.model import Step, StepState
from include.report.text import happened

TOLERANCE: Final = timedelta(minutes=5)
"""So far from its time a step is on time all the same."""

_PATIENCE: Final = timedelta(hours=1)
"""So long the last step of the plan, of which only the end is recorded, may take."""

_RELEASE: Final = "production-blue-green"

Find = Callable[[History], Entry | None]


@dataclass(frozen=True)
class _Kind:
    """How a step of the plan is found in the ledger.

    :param ended: the entry tells its end
    """

    name: str
    told: str
    find: Find
    ended: bool = False


def _begun(phase: str) -> Find:
    return lambda history: _first(
        entry for entry in history.of("phase.started") if str(entry.payload.get("phase")) == phase
    )


def _rehearsal(history: History) -> Entry | None:
    return _begun("staging-deploy")(history) or _first(history.of("release.started", environment="staging"))


def _migration(history: History) -> Entry | None:
    safety = (one for one in history.of("backup.taken", environment=history.main) if _is_safety(one))
    return _first((*safety, *history.of("migration.intended", environment=history.main)))


def _is_safety(entry: Entry) -> bool:
    return entry.payload.get("purpose") == "safety"


def _on_the_day(*kinds: str) -> Find:
    """The last entry of staging that the rehearsal days before did not write."""

    def find(history: History) -> Entry | None:
        found = [one for one in history.of(*kinds, environment="staging") if _is_the_day(history, happened(one))]
        return found[-1] if found else None

    return find


def _is_the_day(history: History, moment: datetime) -> bool:
    return moment.astimezone(history.zone).date() == history.day


def _last(*kinds: str) -> Find:
    def find(history: History) -> Entry | None:
        found = history.of(*kinds, environment=history.main)
        return found[-1] if found else None

    return find


def _go(history: History) -> Entry | None:
    approved = history.of("gate.approved", environment=history.main)
    # An entry from before phases were recorded with it is of the release.
    found = [one for one in approved if one.payload.get("phase", _RELEASE) == _RELEASE]
    return found[-1] if found else None


_STEPS: Final = (
    _Kind("release-preparation", "Vorbereitung (T-7)", _begun("release-preparation")),
    _Kind("staging-deploy", "Staging: Generalprobe (T-3)", _rehearsal),
    _Kind("final-check", "Letzte Prüfung (T-1)", _begun("final-check")),
    _Kind("release-day", "Bereitschaft am Tag (T-0)", _begun("release-day")),
    _Kind("database_migration", "Datenbank: Sicherung und Migration", _migration),
    _Kind(
        "staging_deploy",
        "Staging: letzter Test",
        _on_the_day("deploy.done", "staging.deployed-already"),
        ended=True,
    ),
    _Kind("smoke_tests", "Staging: Smoke-Tests", _on_the_day("verify.passed", "release.verified"), ended=True),
    _Kind("go_no_go", "Go/No-Go", _go, ended=True),
    _Kind("production_deploy", "Bereitstellung der neuen Version", _last("deploy.done"), ended=True),
    _Kind("cutover", "Umschaltung", _last("cutover.done")),
    _Kind("clean_up", "Alter Slot außer Betrieb", _last("cleanup.done"), ended=True),
    _Kind("verification", "Abschließende Prüfung", _last("release.verified"), ended=True),
    _Kind("sign_off", "Abnahme", _last("release.signed-off"), ended=True),
    _Kind("post-release", "Nachbetreuung", _begun("post-release")),
)


def steps(history: History) -> tuple[Step, ...]:
    """Every step of the plan, in the plan's order; without a plan those that happened."""
    planned = {kind.name: history.planned("steps", kind.name) for kind in _STEPS}
    entries = {kind.name: kind.find(history) for kind in _STEPS}
    found: list[Step] = []
    passed = False
    # From the last to the first: what is behind a step that has happened will not come any more.
    for kind in reversed(_STEPS):
        due, entry = planned[kind.name], entries[kind.name]
        actual = happened(entry) if entry else None
        passed = passed or actual is not None or (due is not None and due <= history.ended)
        until = _until(kind.name, planned) if kind.ended else None
        state = _state(due, until, actual, passed=passed)
        found.append(Step(kind.name, kind.told, due, actual, kind.ended, state, entry.sequence if entry else 0))
    return tuple(step for step in reversed(found) if step.planned or step.actual)


def _state(
    planned: datetime | None, until: datetime | None, actual: datetime | None, *, passed: bool
) -> StepState:
    if planned is None:
        return "unplanned"
    if actual is None:
        return "missing" if passed else "open"
    if actual < planned - TOLERANCE:
        return "early"
    return "late" if actual > (until or planned) + TOLERANCE else "on-time"


def _until(name: str, planned: dict[str, datetime | None]) -> datetime | None:
    """When the next step is due: until then a step may take."""
    own = planned[name]
    later = [moment for moment in planned.values() if moment and own and moment > own]
    return min(later, default=own + _PATIENCE if own else None)


def _first(entries: Iterable[Entry]) -> Entry | None:
    return next(iter(entries), None)
