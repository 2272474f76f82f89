"""Deviations from the plan that an entry tells by itself: people went past a rule, a window, a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from include.ledger.approvals import DECISION, GO
from include.ledger.entry import Entry
from include.report.names import name_of
from include.report.release.history import History
from include.report.release.model import Deviation

_WITHOUT_PROOF: Final = ("HELD", "UNDECIDED", "FENCED", "ROLLBACK_BLOCKED")


def recorded(history: History) -> Iterator[Deviation]:
    """Every one, in the ledger's order."""
    for entry in history.entries:
        tell = _TOLD.get(entry.kind)
        if tell and (sentence := tell(entry)):
            yield Deviation(_about(entry), sentence, entry.sequence)


def _about(entry: Entry) -> str:
    if entry.kind == DECISION:
        return text(entry, "choice") or "Kein Go"
    return _ABOUT.get(entry.kind) or name_of(entry.kind)


def _way_back(entry: Entry) -> str:
    why = text(entry, "reason") or text(entry, "what") or text(entry, "sentence")
    return f"{entry.environment}: {why or 'ohne Angabe eines Grundes'}"


def _take_over(entry: Entry) -> str:
    held = text(entry, "from") or "einem anderen Release"
    why = text(entry, "reason") or text(entry, "because") or "ohne Grund"
    return f"{entry.environment} von {held}, durch {entry.actor}: {why}"


def _repeated(entry: Entry) -> str:
    reason = text(entry, "reason")
    return f"{text(entry, 'phase')} durch {entry.actor}: {reason}" if reason else ""


def _silence(entry: Entry) -> str:
    who = text(entry, "role") or text(entry, "user") or entry.environment
    return f"{who}: {text(entry, 'comment') or 'niemand hat geantwortet'}"


def _delegated(entry: Entry) -> str:
    return f"{text(entry, 'role')}: {text(entry, 'to')} für {text(entry, 'by')}"


def _no_go(entry: Entry) -> str:
    if entry.payload.get("choice") == GO:
        return ""
    role, comment = text(entry, "role") or "ohne Rolle", text(entry, "comment") or "ohne Begründung"
    return f"{entry.actor} als {role}: {comment}"


def _steered(entry: Entry) -> str:
    parts = [f"durch {text(entry, 'user') or entry.actor}"]
    if isinstance(minutes := entry.payload.get("minutes"), int | float):
        parts.append(f"um {minutes:g} Minuten")
    if isinstance(overruled := entry.payload.get("overruled"), list) and overruled:
        parts.append(f"übergeht {', '.join(map(str, overruled))}")
    return f"{', '.join(parts)}: {text(entry, 'why') or 'ohne Begründung'}"


def _window(entry: Entry) -> str:
    held = entry.payload.get("result") in _WITHOUT_PROOF
    return text(entry, "sentence") or text(entry, "result") if held else ""


def _deadline(entry: Entry) -> str:
    what = text(entry, "duty") or text(entry, "message") or "eine Nachricht"
    return f"{what}: {text(entry, 'why') or 'kein Grund festgehalten'}"


_ABOUT: Final[Mapping[str, str]] = {
    "phase.started": "Phase wiederholt",
    "watch.ended": "Beobachtung ohne Nachweis",
}
_TOLD: Final[Mapping[str, Callable[[Entry], str]]] = {
    "rollback.done": _way_back,
    "rollback.blocked": _way_back,
    "rollback.refused": _way_back,
    "restore.done": _way_back,
    "migration.watch-failed": _way_back,
    "migration.taken-back": _way_back,
    "database.loss-confirmed": _way_back,
    "lease.taken-over": _take_over,
    "phase.started": _repeated,
    "gate.silence": _silence,
    "feedback.silence": _silence,
    "uat.not-tested": _silence,
    "gate.delegated": _delegated,
    DECISION: _no_go,
    "watch.extended": _steered,
    "watch.accepted": _steered,
    "watch.ended": _window,
    "deadline.missed": _deadline,
}


def text(entry: Entry, name: str) -> str:
    """A value of the payload as text; empty when it has none."""
    value = entry.payload.get(name)
    return "" if value is None else str(value)
