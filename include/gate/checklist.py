"""What settles the points of a checklist: a record of the ledger, or a person's word. No record is no evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from include.gate.evidence import JUDGED_BY, Standing, ended_badly, judged, of_attempt
from include.gate.rehearsal import REHEARSED, TAKEN_BACK, Rehearsal, against
from include.ledger.entry import Entry, newest_of
from include.plan.people import ChecklistItem

TICKED: Final = "checklist.ticked"
CHECKED: Final = "checklist.settled"

# The record that a task leaves when it has done its work, and what takes it back.
_BACK: Final = TAKEN_BACK
_UNDONE: Final = ("migration.taken-back", "restore.done")
RECORDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "db-migration.rehearsal.verify_backup": ("backup.verified", ()),
    "db-migration.rehearsal.rehearse": ("rehearsal.done", ()),
    "db-migration.migration.verify_backup": ("backup.verified", ()),
    "db-migration.migration.migrate": ("migration.applied", _UNDONE),
    "db-migration.migration.verify": ("migration.verified", _UNDONE),
    "db-migration.watch": ("migration.watched", _UNDONE),
    "staging-deploy.complete_rehearsal": (REHEARSED, _BACK),
    "production-blue-green.deploy_idle_slot": ("deploy.done", ()),
    "production-blue-green.verify_idle_slot": ("verify.passed", ()),
    "production-blue-green.cutover": ("cutover.done", _BACK),
    "production-blue-green.watch": ("watch.passed", _BACK),
    "production-blue-green.clean_up": ("cleanup.done", _BACK),
    "production-blue-green.final_verification": ("release.verified", _BACK),
    "production-blue-green.report": ("report.written", ()),
}
_MIGRATION: Final = ("db-migration.migration.migrate", "db-migration.migration.verify", "db-migration.watch")
_BEGUN: Final = ("migration.intended", "migration.applied", *_UNDONE)
NEEDLESS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = dict.fromkeys(
    _MIGRATION, ("migration.needless", _BEGUN)
)
"""The record that says instead that there was nothing to do: the release has no migration."""

KINDS: Final = frozenset(
    kind for kept, voids in (*RECORDS.values(), *NEEDLESS.values()) for kind in (kept, *voids)
)
"""Every kind of record that settles a point or takes it back."""

WATCHED: Final = RECORDS["production-blue-green.watch"]

OF_THE_RELEASE: Final = frozenset({"preparation", "final-check", "standby", "go-no-go"})
"""The lists about the release, whichever run brings it: what was ticked of them counts for the date that was
planned then. The others are about what it has done: what was ticked of them counts no more once that was taken
back."""

NOT_REHEARSED: Final = Rehearsal()

EVIDENCE: Final = tuple(sorted({TICKED, *JUDGED_BY, *KINDS}))
"""The kinds of entries that :func:`points` looks at."""


@dataclass(frozen=True)
class _Known:
    """What the ledger tells, of the environment and of staging."""

    entries: Sequence[Entry]
    rehearsal: Rehearsal
    planned: date


@dataclass(frozen=True)
class Point:
    """How a point of a checklist stands.

    :param index: its place in the list, from 0
    :param role: whose tick settles it; None where a machine does
    :param why: what settled it, or what is missing
    """

    index: int
    text: str
    role: str | None
    standing: Standing
    why: str

    @property
    def line(self) -> str:
        """The point as one line."""
        mark = {"settled": "✔", "open": "✘", "unknown": "?"}[self.standing]
        return f"{mark} {self.text}: {self.why}"


def points(
    items: Sequence[ChecklistItem],
    entries: Iterable[Entry],
    *,
    checklist: str,
    planned: date,
    rehearsal: Rehearsal = NOT_REHEARSED,
) -> tuple[Point, ...]:
    """How every point stands.

    :param entries: of the release in its environment, whichever run wrote them, oldest first
    :param checklist: the list's name
    :param planned: T-0 of the release
    :param rehearsal: what staging has shown of the release
    """
    known = _Known(list(entries), rehearsal, planned)
    return tuple(_point(index, item, known, checklist) for index, item in enumerate(items))


def names_rehearsal(items: Iterable[ChecklistItem]) -> bool:
    """Whether a point is to be settled by the rehearsal."""
    return any(RECORDS.get(str(item.task), ("", ()))[0] == REHEARSED for item in items)


def unsettled(found: Iterable[Point], role: str | None = None) -> tuple[Point, ...]:
    """The points that machines leave open, or those of a role."""
    return tuple(one for one in found if one.standing != "settled" and one.role == role)


def _point(index: int, item: ChecklistItem, known: _Known, checklist: str) -> Point:
    if item.role is not None:
        return Point(index, item.text, item.role, *_by_tick(item, known, checklist))
    standing, why = _by_rule(item.rule, known) if item.rule is not None else _by_task(str(item.task), known)
    return Point(index, item.text, None, standing, why)


def _by_tick(item: ChecklistItem, known: _Known, checklist: str) -> tuple[Standing, str]:
    for entry in reversed(known.entries):
        told = entry.payload
        if checklist not in OF_THE_RELEASE and entry.kind in (*_BACK, *_UNDONE):
            return "open", f"{item.role} has not ticked it since {entry.kind} at {entry.at:%Y-%m-%d %H:%M} UTC"
        of_list = entry.kind == TICKED and (told.get("checklist"), told.get("role")) == (checklist, item.role)
        if of_list and item.text in told.get("points", ()):
            then = told.get("planned")
            if checklist in OF_THE_RELEASE and then != known.planned.isoformat():
                return "open", f"{item.role} has ticked it for {then or 'another date'}, not for {known.planned}"
            said = f": {told['comment']}" if told.get("comment") else ""
            return "settled", f"{entry.actor}{said}"
    return "open", f"{item.role} has not ticked it"


def _by_task(task: str, known: _Known) -> tuple[Standing, str]:
    kind, voids = RECORDS.get(task, (None, ()))
    if kind is None:
        return "unknown", f"{task} leaves no record that settles it"
    entries = known.rehearsal.entries if kind == REHEARSED else known.entries
    found = ended_badly(kind, entries) or newest_of(of_attempt(kind, entries), kind)
    if needless := _needless(task, entries):
        return "settled", f"{needless.payload.get('sentence', 'nothing to do')}, {needless.at:%Y-%m-%d %H:%M} UTC"
    if found is None:
        return "unknown", f"no record of {task}"
    after = next((one for one in reversed(entries) if one.kind in voids and one.sequence > found.sequence), None)
    if after is not None:
        return "open", f"taken back at {after.at:%Y-%m-%d %H:%M} UTC"
    said = against(found, known.rehearsal.released) if kind == REHEARSED else judged(found, entries)
    return said or ("settled", f"{task} at {found.at:%Y-%m-%d %H:%M} UTC")


def _needless(task: str, entries: Sequence[Entry]) -> Entry | None:
    """What says that the task had nothing to do, unless something was begun or undone since."""
    kind, voids = NEEDLESS.get(task, (None, ()))
    newest = next((entry for entry in reversed(entries) if entry.kind == kind or entry.kind in voids), None)
    return newest if newest is not None and newest.kind == kind else None


def _by_rule(rule: str, known: _Known) -> tuple[Standing, str]:
    standing, why = _by_task("production-blue-green.watch", known)
    if standing != "settled":
        return standing, why
    watched = newest_of(known.entries, WATCHED[0])
    findings = watched.payload.get("findings", ()) if watched else ()
    states = [(str(state), str(sentence)) for name, state, sentence in findings if name == rule]
    if not states:
        return "unknown", f"the watch judged no {rule}"
    state, sentence = states[-1]
    return ("settled" if state == "HEALTHY" else "unknown" if state == "UNKNOWN" else "open"), sentence
