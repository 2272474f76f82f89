"""The report of a release, in Markdown, from the ledger's entries and nothing else.

``python -m include.report.summary 3.0.0 production`` prints it; STELLWERK_LEDGER_URL names the ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from include.errors import LedgerError, StellwerkError
from include.ledger.approvals import DECISION, GO
from include.ledger.chain import head_of
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages.deliver import FAILED, SENT
from include.messages.render import render
from include.report.text import cell, duration, happened

STEPS: Mapping[str, str] = {
    "release.started": "Release begonnen",
    "preflight.preview": "Vorschau der Änderungen festgehalten",
    "gate.silence": "Keine Antwort bis zur Frist",
    "gate.approved": "Freigegeben",
    "gate.delegated": "Entscheidung übertragen",
    "gate.answer-refused": "Antwort war keine Entscheidung",
    "checklist.ticked": "Punkte der Checkliste bestätigt",
    "checklist.settled": "Checkliste erledigt",
    "release.signed-off": "Release abgenommen",
    "deploy.done": "Neue Version bereitgestellt",
    "verify.passed": "Neue Version geprüft",
    "cutover.done": "Verkehr umgeschaltet",
    "drain.done": "Offene Verbindungen übergeben",
    "watch.baseline": "Beobachtung begonnen",
    "watch.passed": "Beobachtung bestanden",
    "watch.ended": "Beobachtung beendet",
    "switch.back": "Verkehr zurückgeschaltet",
    "cleanup.done": "Alter Slot außer Betrieb",
    "release.verified": "Release abschließend geprüft",
    "rollback.chosen": "Rückweg gewählt",
    "rollback.refused": "Rollback abgelehnt",
    "rollback.blocked": "Rollback nicht möglich",
    "restore.stated": "Verlust einer Wiederherstellung festgestellt",
    "database.loss-confirmed": "Verlust bestätigt",
    "database.loss-refused": "Verlust nicht bestätigt",
    "database.answer-refused": "Antwort war unvollständig",
    "migration.way-back-unknown": "Rückweg der Migration nicht bekannt",
    "restore.stopped": "Anwendung für die Wiederherstellung angehalten",
    "restore.done": "Datenbank aus der Sicherung wiederhergestellt",
    "restore.resumed": "Anwendung ohne Wiederherstellung wieder gestartet",
    "rollback.brought-back": "Alte Version wieder bereitgestellt",
    "rollback.verified": "Rollback geprüft",
    "rollback.done": "Rollback abgeschlossen",
    "deadline.missed": "Frist einer Nachricht verpasst",
}
"""What each kind of entry is called; kinds that are not listed are shown under their own name."""

PHASES: Sequence[tuple[str, str, str]] = (
    ("Freigabe", "release.started", "gate.approved"),
    ("Bereitstellung", "gate.approved", "deploy.done"),
    ("Prüfung vor der Umschaltung", "deploy.done", "verify.passed"),
    ("Umschaltung", "verify.passed", "cutover.done"),
    ("Beobachtung", "watch.baseline", "watch.ended"),
    ("Umschaltung bis Rückschaltung", "cutover.done", "switch.back"),
    ("Aufräumen", "watch.passed", "cleanup.done"),
)

#: what the steps tell each other, and nobody else
INTERNAL = (
    "cutover.intended",
    "cutover.observed",
    "cutover.watch-called",
    "watch.armed",
    "watch.checkpoint",
    "migration.watch-checkpoint",
    "ledger.head",
    "gate.asked",
)
_QUIET = (SENT, FAILED, DECISION, *INTERNAL)
_DETAILS: Mapping[str, str] = {
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


@dataclass(frozen=True)
class Step:
    """One line of what happened.

    :param at: when it happened, which may be before it was recorded
    """

    at: datetime
    since_start: timedelta
    name: str
    actor: str
    detail: str


def summarise(entries: Sequence[Entry], *, timezone: str) -> str:
    """The report, in German Markdown: outcome, who decided, what happened when, how long it took.

    :param entries: of one release in one environment, in the ledger's order
    :param timezone: in which times are told
    :raises LedgerError: there are no entries, or they belong to several releases
    """
    releases = {(entry.release, entry.environment) for entry in entries}
    if len(releases) != 1:
        raise LedgerError(
            "a report needs the entries of one release",
            expected="one release in one environment",
            seen=", ".join(sorted(f"{release} in {environment}" for release, environment in releases)) or "none",
        )
    started = min(map(happened, entries))
    ended = max(map(happened, entries))
    facts: dict[str, Any] = {
        "release": entries[0].release,
        "environment": entries[0].environment,
        "outcome": outcome(entries),
        "runs": list(dict.fromkeys(entry.run_id for entry in entries)),
        "started": started,
        "ended": ended,
        "total": duration(ended - started),
        "decisions": [_decision(entry) for entry in entries if entry.kind == DECISION],
        "steps": sorted((_step(entry, started) for entry in entries if _is_step(entry)), key=lambda step: step.at),
        "durations": [(name, duration(length)) for name, length in durations(entries)],
        "sent": [entry.payload.get("message", "") for entry in entries if entry.kind == SENT],
        "failed": [entry for entry in entries if entry.kind == FAILED],
        "head": head_of(entries).short,
        "duration": duration,
        "cell": cell,
    }
    return render("summary.md.j2", facts, timezone=timezone)


def outcome(entries: Sequence[Entry]) -> str:
    """How the last attempt ended, as far as the entries say."""
    begins = [index for index, entry in enumerate(entries) if entry.kind == "release.started"]
    attempt = entries[begins[-1] :] if begins else entries
    back = [entry for entry in attempt if entry.kind in ("switch.back", "rollback.done")]
    if back:
        reasons = [str(entry.payload["reason"]) for entry in back if entry.payload.get("reason")]
        return f"Zurückgerollt: {cell(reasons[0]) if reasons else 'ohne Angabe eines Grundes'}"
    if any(entry.kind == "release.verified" for entry in attempt):
        return "Erfolgreich ausgeliefert"
    last_decisions = {str(entry.payload.get("role")): entry.payload for entry in attempt if entry.kind == DECISION}
    refused = [given for given in last_decisions.values() if given.get("choice") != GO]
    if refused:
        who = ", ".join(f"{cell(given.get('user'))} ({cell(given.get('role'))})" for given in refused)
        return f"Nicht freigegeben: No-Go von {who}"
    steps = [entry for entry in attempt if _is_step(entry)]
    return f"Nicht abgeschlossen, letzter Schritt: {_name(steps[-1].kind) if steps else 'keiner'}"


def durations(entries: Iterable[Entry]) -> list[tuple[str, timedelta]]:
    """How long each phase took that has a beginning and an end: from the last beginning before its first end."""
    moments: dict[str, list[datetime]] = {}
    for entry in entries:
        moments.setdefault(entry.kind, []).append(happened(entry))
    result = []
    for name, begins, ends in PHASES:
        ended = min(moments.get(ends, ()), default=None)
        started = max((moment for moment in moments.get(begins, ()) if ended and moment <= ended), default=None)
        if started and ended:
            result.append((name, ended - started))
    return result


def details(payload: Mapping[str, Any], more: Mapping[str, str] = MappingProxyType({})) -> str:
    """What an entry tells beside its kind, on one line.

    :param more: further names of a payload that are told, each with what it is called
    """
    named = {**_DETAILS, **more}
    return "; ".join(f"{told}: {_plain(payload[name])}" for name, told in named.items() if payload.get(name))


def _is_step(entry: Entry) -> bool:
    return entry.kind not in (*_QUIET, "postmortem.drafted", "report.written")


def _step(entry: Entry, started: datetime) -> Step:
    moment = happened(entry)
    return Step(moment, moment - started, _name(entry.kind), entry.actor, details(entry.payload))


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _name(kind: str) -> str:
    return STEPS.get(kind, kind)


def _decision(entry: Entry) -> dict[str, Any]:
    names = ("role", "user", "choice", "comment", "fingerprint")
    return {"at": entry.at, **{name: str(entry.payload.get(name, "")) for name in names}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of a release."""
    parser = argparse.ArgumentParser(prog="python -m include.report.summary", description=main.__doc__)
    parser.add_argument("release", help="its version")
    parser.add_argument("environment")
    parser.add_argument("--timezone", default="Europe/Berlin", help="in which times are told")
    options = parser.parse_args(arguments)
    try:
        ledger = Ledger(os.environ.get("STELLWERK_LEDGER_URL", ""))
        entries = ledger.entries(release=options.release, environment=options.environment)
        print(summarise(entries, timezone=options.timezone), end="")
    except StellwerkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
