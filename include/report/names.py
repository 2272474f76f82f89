"""What the reports call the kinds of ledger entries, and what they tell of a payload."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_KINDS: Final[Mapping[str, str]] = {
    "phase.started": "Phase begonnen",
    "phase.completed": "Phase abgeschlossen",
    "plan.recorded": "Plan festgehalten",
    "release.started": "Release begonnen",
    "preflight.preview": "Vorschau der Änderungen festgehalten",
    "image.resolved": "Image festgelegt",
    "lease.taken-over": "Umgebung übernommen",
    "adoption.planned": "Übernahme der bisherigen Installation geplant",
    "adoption.done": "Bisherige Installation übernommen",
    "adoption.undo": "Rückgabe der bisherigen Installation begonnen",
    "adoption.undone": "Bisherige Installation zurückgegeben",
    "gate.silence": "Keine Antwort bis zur Frist",
    "gate.approved": "Freigegeben",
    "gate.delegated": "Rolle vertreten",
    "gate.granted-by-plan": "Vom Plan freigegeben",
    "backup.taken": "Sicherung geschrieben",
    "backup.verified": "Sicherung geprüft",
    "migration.surveyed": "Migration vorab geprüft",
    "rehearsal.done": "Migration geprobt",
    "rehearsal.proved": "Alte Version auf dem neuen Schema nachgewiesen",
    "migration.intended": "Migration begonnen",
    "migration.rows-at-risk": "Zeilen womöglich schon verändert",
    "migration.applied": "Migration angewandt",
    "migration.verified": "Migration nachgewiesen",
    "migration.needless": "Keine Migration nötig",
    "migration.changed-nothing": "Migration hat nichts verändert",
    "migration.watch-started": "Beobachtung nach der Migration begonnen",
    "migration.watch-failed": "Beobachtung nach der Migration fehlgeschlagen",
    "migration.watched": "Beobachtung nach der Migration bestanden",
    "migration.way-back-stated": "Verlust des Rückwegs festgestellt",
    "migration.way-back-intended": "Rücknahme der Migration begonnen",
    "migration.way-back-changed-nothing": "Rücknahme hat nichts verändert",
    "migration.way-back-unknown": "Rückweg der Migration nicht bekannt",
    "migration.taken-back": "Migration zurückgenommen",
    "deploy.done": "Neue Version bereitgestellt",
    "staging.deployed-already": "Neue Version lief schon",
    "staging.urls-verified": "Adressen geprüft",
    "staging.load-measured": "Lasttest gemessen",
    "uat.answered": "Abnahmetest beantwortet",
    "uat.not-tested": "Abnahmetest nicht beantwortet",
    "uat.concluded": "Abnahmetests abgeschlossen",
    "checklist.ticked": "Punkte abgehakt",
    "checklist.settled": "Checkliste erledigt",
    "gate.answer-refused": "Antwort am Gate nicht gezählt",
    "verify.passed": "Neue Version geprüft",
    "cutover.done": "Verkehr umgeschaltet",
    "drain.done": "Offene Verbindungen übergeben",
    "watch.baseline": "Beobachtung begonnen",
    "watch.passed": "Beobachtung abgeschlossen",
    "watch.ended": "Beobachtung beendet",
    "watch.rollback-ordered": "Rückschaltung angeordnet",
    "watch.extended": "Beobachtung verlängert",
    "watch.accepted": "Release angenommen",
    "watch.answer-refused": "Antwort war nicht ausführbar",
    "watch.answered-late": "Antwort kam zu spät",
    "feedback.decided": "Über eine kritische Rückmeldung entschieden",
    "feedback.silence": "Keine Antwort auf eine kritische Rückmeldung",
    "switch.back": "Verkehr zurückgeschaltet",
    "cleanup.done": "Alter Slot außer Betrieb",
    "release.verified": "Release abschließend geprüft",
    "release.signed-off": "Release abgenommen",
    "rollback.chosen": "Rückweg gewählt",
    "rollback.refused": "Rollback abgelehnt",
    "rollback.blocked": "Rollback nicht möglich",
    "restore.stated": "Verlust einer Wiederherstellung festgestellt",
    "database.loss-confirmed": "Verlust bestätigt",
    "database.loss-refused": "Verlust nicht bestätigt",
    "database.answer-refused": "Antwort war unvollständig",
    "restore.stopped": "Anwendung für die Wiederherstellung angehalten",
    "restore.done": "Datenbank aus der Sicherung wiederhergestellt",
    "restore.resumed": "Anwendung ohne Wiederherstellung wieder gestartet",
    "rollback.brought-back": "Alte Version wieder bereitgestellt",
    "rollback.verified": "Rollback geprüft",
    "rollback.done": "Rollback abgeschlossen",
    "deadline.missed": "Frist einer Nachricht verpasst",
}

DRAFTED: Final = "postmortem.drafted"
REPORTED: Final = "report.written"
OWN: Final = (DRAFTED, REPORTED)
"""What reports record of themselves: never a part of what they report on, or each would make the next one new."""

INTERNAL: Final = (
    "cutover.intended",
    "cutover.observed",
    "cutover.watch-called",
    "watch.armed",
    "watch.checkpoint",
    "migration.watch-checkpoint",
    "ledger.head",
    "plan.kept",
    "migration.nothing-pending",
    "lease.takeover-intended",
    "gate.asked",
    "uat.asked",
)
"""What the steps tell each other, and nobody else."""

_DETAILS: Final[Mapping[str, str]] = {
    "option": "Weg",
    "what": "Befund",
    "duty": "Nachricht",
    "slot": "Slot",
    "from": "von",
    "to": "nach",
    "people": "durch",
    "result": "Ergebnis",
    "sentence": "Befund",
    "reason": "Grund",
    "policy": "Vorgehen",
    "helm_release": "Helm-Release",
    "revision": "Revision",
}


def name_of(kind: str) -> str:
    """What the kind is called; one that is not known here stands under its own name."""
    return _KINDS.get(kind, kind)


def details(payload: Mapping[str, Any], more: Mapping[str, str] = MappingProxyType({})) -> str:
    """What an entry tells beside its kind, on one line.

    :param more: further names of a payload that are told, each with what it is called
    """
    named = {**_DETAILS, **more}
    return "; ".join(f"{told}: {_plain(payload[name])}" for name, told in named.items() if payload.get(name))


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
