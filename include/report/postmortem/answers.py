"""What people said while a release was watched: what they told the watch, and what users reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from include.ledger.entry import Entry
from include.report.postmortem.incident import Incident
from include.report.text import happened

FEEDBACK: Final = "feedback.given"
ORDERED: Final = "watch.rollback-ordered"
DECIDED: Final = "feedback.decided"
ANSWERS: Final = (
    *(ORDERED, DECIDED, "watch.extended", "watch.accepted", "watch.answer-refused", "watch.answered-late"),
)
_ROLL_BACK: Final = "Roll back now"
_BAD: Final = ("problem", "critical-data-loss", "critical-security")


@dataclass(frozen=True)
class Answer:
    """What somebody answered; ``why`` is empty when they did not say."""

    at: datetime
    who: str
    choice: str
    why: str


@dataclass(frozen=True)
class Report:
    """What a user reported; ``bad`` when it was not that everything works."""

    at: datetime
    who: str
    verdict: str
    text: str
    bad: bool


def orders(incident: Incident) -> tuple[Answer, ...]:
    """The answers of humans that sent the traffic back, in the order of time.

    One that was refused, or came when there was nothing to steer any more, is none.
    """
    found = [answer_in(entry) for entry in incident.of(ORDERED, DECIDED)]
    return tuple(sorted((one for one in found if one.choice == _ROLL_BACK), key=lambda one: one.at))


def answer_in(entry: Entry) -> Answer:
    """The answer that one of :data:`ANSWERS` holds."""
    payload = entry.payload
    who = str(payload.get("user") or entry.actor)
    return Answer(happened(entry), who, str(payload.get("choice") or ""), str(payload.get("why") or ""))


def reports(incident: Incident) -> tuple[Report, ...]:
    """What users reported, in the order of time."""
    found = []
    for entry in incident.of(FEEDBACK):
        verdict = str(entry.payload.get("verdict") or "")
        text = str(entry.payload.get("text") or "")
        found.append(Report(happened(entry), entry.actor, verdict, text, verdict in _BAD))
    return tuple(sorted(found, key=lambda one: one.at))
