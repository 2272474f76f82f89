"""How long the parts of a release took."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from include.report.release.history import History
from include.report.text import happened

_SPANS: Final = (
    ("Sicherung bis zur angewandten Migration", "backup.taken", "migration.applied"),
    ("Freigabe", "release.started", "gate.approved"),
    ("Bereitstellung", "gate.approved", "deploy.done"),
    ("Prüfung vor der Umschaltung", "deploy.done", "verify.passed"),
    ("Umschaltung", "verify.passed", "cutover.done"),
    ("Beobachtung", "watch.baseline", "watch.ended"),
    ("Umschaltung bis Rückschaltung", "cutover.done", "switch.back"),
    ("Aufräumen", "watch.passed", "cleanup.done"),
)


def spans(history: History) -> tuple[tuple[str, timedelta], ...]:
    """Each part that has a beginning and an end: from the last beginning before its first end."""
    moments: dict[str, list[datetime]] = {}
    for entry in history.within(history.main):
        moments.setdefault(entry.kind, []).append(happened(entry))
    found = []
    for name, begins, ends in _SPANS:
        ended = min(moments.get(ends, ()), default=None)
        started = max((moment for moment in moments.get(begins, ()) if ended and moment <= ended), default=None)
        if started and ended:
            found.append((name, ended - started))
    return tuple(found)
