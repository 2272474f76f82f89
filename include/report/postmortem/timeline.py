"""The timeline: every entry that tells people something, the marks that no entry is for, in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from include.ledger.approvals import DECISION
from include.ledger.entry import Entry
from include.messages.deliver import FAILED, SENT
from include.report.names import INTERNAL, details, name_of
from include.report.postmortem.answers import ANSWERS, FEEDBACK, answer_in
from include.report.postmortem.incident import Incident
from include.report.postmortem.marks import person
from include.report.postmortem.model import Event, Mark
from include.report.text import happened

_QUIET: Final = (*INTERNAL, "preflight.preview")
_BOTH: Final = ("switch.back", "watch.passed")
_RESULTS: Final[Mapping[str, str]] = {
    "PASSED": "bestanden",
    "ROLLED_BACK": "zurückgeschaltet",
    "ROLLED_BACK_BY_HAND": "von Hand zurückgeschaltet",
    "ROLLBACK_BLOCKED": "Rückschaltung fällig und nicht möglich",
    "HELD": "ohne Nachweis der Gesundheit angehalten",
    "NOTICE": "ein Mensch wurde gerufen, dasselbe Fenster läuft weiter",
    "FENCED": "der Traffic-Service gehört nicht mehr zu diesem Release",
    "UNDECIDED": "angehalten, und niemand hat entschieden",
    "ACCEPTED": "von einem Menschen angenommen",
}
_MORE: Final[Mapping[str, str]] = {
    "phase": "Phase",
    "checklist": "Liste",
    "points": "Punkte",
    "backup": "Sicherung",
    "seen": "beobachtet",
    "remedy": "zu tun",
    "checks": "geprüft",
    "due": "fällig",
    "why": "Grund",
    "noticed": "bemerkt",
}
_MESSAGES: Final[Mapping[str, str]] = {
    "announcement": "Ankündigung",
    "deployment-started": "Auslieferung begonnen",
    "migration-started": "Migration begonnen",
    "migration-completed": "Migration abgeschlossen",
    "migration-needless": "Nichts zu migrieren",
    "migration-failed": "Migration fehlgeschlagen",
    "migration-left": "Was die Migration hinterlassen hat",
    "slot-deployment-started": "Bereitstellung begonnen",
    "cutover": "Verkehr umgeschaltet",
    "cleanup": "Alter Slot außer Betrieb",
    "successful": "Erfolgreich ausgeliefert",
    "completion": "Abschluss",
    "rollback-alert": "Rollback",
    "rollback-mail": "Rollback",
    "human-needed": "Eingriff nötig",
    "post-mortem": "Einladung zum Post-Mortem",
    "rollback-refused": "Rollback abgelehnt",
}
_MARKS: Final[Mapping[str, str]] = {
    "fault": "Erstes Anzeichen des Fehlers",
    "detected": "Fehler erkannt",
    "switched": "Verkehr zurückgeschaltet",
}


def timeline(incident: Incident, marks: Sequence[Mark]) -> tuple[Event, ...]:
    """Every event, the oldest first."""
    told = [event for entry in incident.entries if (event := _event(entry))]
    derived = [
        Event(mark.at, _MARKS[mark.name], mark.actor, mark.how if mark.exact else f"spätestens; {mark.how}", 0)
        for mark in marks
        if mark.name in _MARKS and not (mark.name == "fault" and mark.how == "die Erkennung selbst")
    ]
    # Of the same moment, the cause stands before what was recorded of it.
    return tuple(sorted([*derived, *told], key=lambda event: (event.at, event.sequence)))


def message_name(entry: Entry) -> str:
    """Which message an entry of the delivery is about, for example ``rollback-mail``."""
    key = str(entry.payload.get("message") or "")
    return key.rpartition(":message:")[2] or "ohne Namen"


def message_told(name: str) -> str:
    """What a message is called; what follows a colon tells messages of one run apart."""
    return _MESSAGES.get(name.partition(":")[0], name)


def _event(entry: Entry) -> Event | None:
    if entry.kind in _QUIET:
        return None
    if entry.kind in _BOTH:
        return _noticed(entry)
    payload = entry.payload
    if entry.kind in (SENT, FAILED):
        return _message(entry)
    if entry.kind == DECISION:
        detail = f"{payload.get('role', '')}: {payload.get('comment') or 'ohne Kommentar'}"
        return Event(entry.at, f"Freigabe: {payload.get('choice', '?')}", entry.actor, detail, entry.sequence)
    if entry.kind == FEEDBACK:
        detail = f"{payload.get('verdict', '?')}: {payload.get('text') or 'ohne Text'}"
        return Event(
            happened(entry), "Rückmeldung", str(payload.get("user") or entry.actor), detail, entry.sequence
        )
    if entry.kind in ANSWERS:
        return _answer(entry)
    if entry.kind == "watch.ended":
        result = str(payload.get("result") or "?")
        what = "Beobachtung meldet" if result == "NOTICE" else "Beobachtung beendet"
        detail = f"{_RESULTS.get(result, result)}: {payload.get('sentence') or 'ohne Befund'}"
        return Event(happened(entry), what, entry.actor, detail, entry.sequence)
    return Event(
        happened(entry), name_of(entry.kind), person(entry.actor), details(entry.payload, _MORE), entry.sequence
    )


def _noticed(entry: Entry) -> Event | None:
    """What else a switch was told of: the switch itself is a mark, however often it was recorded."""
    noticed = entry.payload.get("noticed")
    if not noticed:
        return None
    told = details({"noticed": noticed}, _MORE)
    return Event(happened(entry), "Bei der Rückschaltung bemerkt", person(entry.actor), told, entry.sequence)


def _answer(entry: Entry) -> Event:
    answer, payload = answer_in(entry), entry.payload
    parts = [answer.choice, answer.why or "ohne Begründung"]
    parts += [f"{payload['minutes']:g} Minuten"] if isinstance(payload.get("minutes"), int | float) else []
    parts += [str(payload[name]) for name in ("refused", "late") if payload.get(name)]
    return Event(answer.at, name_of(entry.kind), answer.who, "; ".join(parts), entry.sequence)


def _message(entry: Entry) -> Event:
    payload = entry.payload
    recipients = payload.get("recipients")
    audience = payload.get("channel") or ", ".join(map(str, recipients if isinstance(recipients, list) else ()))
    told = message_told(message_name(entry))
    what = f"Nachricht „{told}“ {'gesendet' if entry.kind == SENT else 'nicht angenommen'}"
    detail = f"{'Slack' if payload.get('via') == 'slack' else 'E-Mail'} an {audience or 'niemanden'}"
    if entry.kind == FAILED:
        detail += f": {payload.get('error') or 'ohne Grund'}"
    return Event(entry.at, what, entry.actor, detail, entry.sequence)
