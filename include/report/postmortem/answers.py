"""What people said while a release was watched: orders to the watch, and what users reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from include.ledger.entry import Entry
from include.report.postmortem.incident import Incident
from include.report.text import happened, moment

FEEDBACK: Final = "feedback.given"
_ROLL_BACK: Final = "roll back now"
_CHOICES: Final = ("choice", "option", "answer", "chosen")
_PEOPLE: Final = ("user", "by", "who", "person")
_TEXTS: Final = ("why", "reason", "comment", "text")
_BAD: Final = ("problem", "critical-data-loss", "critical-security")


@dataclass(frozen=True)
class Answer:
    """What somebody answered when the watch asked.

    :param choice: ``Extend``, ``Accept``, ``Roll back now`` …
    """

    at: datetime
    who: str
    choice: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a user reported; ``bad`` when it was not that everything works."""

    at: datetime
    who: str
    verdict: str
    text: str
    bad: bool


def answers(incident: Incident) -> tuple[Answer, ...]:
    """Every answer to the watch, in the order of time."""
    found = [answer for entry in incident.entries if (answer := answer_in(entry))]
    return tuple(sorted(found, key=lambda one: one.at))


def orders(incident: Incident) -> Iterator[Answer]:
    """The answers that ordered to switch back."""
    return (one for one in answers(incident) if one.choice.strip().casefold() == _ROLL_BACK)


def answer_in(entry: Entry) -> Answer | None:
    """The answer that an entry of the watch holds; None when it is something else."""
    if not entry.kind.startswith("watch.") or entry.kind in ("watch.baseline", "watch.checkpoint"):
        return None
    payload = entry.payload
    inner = payload.get("answer")
    told: Mapping[str, Any] = inner if isinstance(inner, dict) else payload
    choice = _first(told, _CHOICES)
    if not choice:
        return None
    at = moment(told.get("responded_at"), near=entry.at) or moment(told.get("at"), near=entry.at)
    return Answer(at or happened(entry), _first(told, _PEOPLE) or entry.actor, choice, _first(told, _TEXTS))


def reports(incident: Incident) -> tuple[Report, ...]:
    """What users reported, in the order of time."""
    found = []
    for entry in incident.of(FEEDBACK):
        verdict = str(entry.payload.get("verdict") or "")
        who = _first(entry.payload, _PEOPLE) or entry.actor
        text = str(entry.payload.get("text") or "")
        found.append(Report(happened(entry), who, verdict, text, verdict in _BAD))
    return tuple(sorted(found, key=lambda one: one.at))


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(told[name]) for name in names if isinstance(told.get(name), str) and told[name]), "")
