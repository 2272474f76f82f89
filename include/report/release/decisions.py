"""Who decided what: at the gates, about the watch, about what is lost, past the plan's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from include.ledger.approvals import DECISION, GO
from include.ledger.entry import Entry
from include.report.names import name_of
from include.report.postmortem.marks import STELLWERK, person
from include.report.release.history import History
from include.report.release.model import Decision
from include.report.release.recorded import text
from include.report.text import happened

SILENCE: Final = "keine Antwort"
NOBODY: Final = "niemand"

_PHASES: Final[Mapping[str, str]] = {
    "production-blue-green": "Go/No-Go für das Release",
    "db-migration": "Go/No-Go für die Migration",
}


def decisions(history: History) -> tuple[Decision, ...]:
    """Every decision, the oldest first."""
    found = (_decision(entry) for entry in history.entries)
    return tuple(sorted((one for one in found if one), key=lambda one: (one.at, one.sequence)))


def _decision(entry: Entry) -> Decision | None:
    told = _TOLD.get(entry.kind)
    return told(entry) if told else None


def _gate(entry: Entry) -> Decision:
    return _of(entry, about=_phase(entry), choice=text(entry, "choice") or "?", why=text(entry, "comment"))


def _silence(entry: Entry) -> Decision:
    return _of(entry, about=_phase(entry), choice=SILENCE, why=text(entry, "comment"), who=NOBODY)


def _delegation(entry: Entry) -> Decision:
    return _of(
        entry, about=_phase(entry), choice=f"vertreten durch {text(entry, 'to')}", why=text(entry, "comment")
    )


def _answer(entry: Entry) -> Decision:
    choice, minutes = text(entry, "choice"), entry.payload.get("minutes")
    if isinstance(minutes, int | float):
        choice = f"{choice} ({minutes:g} Minuten)"
    overruled = entry.payload.get("overruled")
    why = text(entry, "why")
    if isinstance(overruled, list) and overruled:
        why = f"{why}; übergeht: {', '.join(map(str, overruled))}"
    return _of(entry, about=name_of(entry.kind), choice=choice, why=why, who=text(entry, "user"))


def _no_answer(entry: Entry) -> Decision:
    return _of(entry, about=name_of(entry.kind), choice=SILENCE, who=NOBODY)


def _loss(entry: Entry) -> Decision:
    return _of(
        entry, about="Verlust von Daten", choice="bestätigt", why=text(entry, "reason"), who=text(entry, "by")
    )


def _no_loss(entry: Entry) -> Decision:
    who = text(entry, "by")
    choice = "nicht bestätigt" if who else SILENCE
    return _of(entry, about="Verlust von Daten", choice=choice, why=text(entry, "why"), who=who or NOBODY)


def _take_over(entry: Entry) -> Decision | None:
    if entry.payload.get("because") != "override":
        return None
    about = f"Umgebung übernommen von {text(entry, 'from') or 'einem anderen Release'}"
    return _of(entry, about=about, choice="übergangen", why=text(entry, "reason"))


def _repeat(entry: Entry) -> Decision | None:
    reason = text(entry, "reason")
    if not reason:
        return None
    return _of(entry, about=f"Phase {text(entry, 'phase')}", choice="noch einmal begonnen", why=reason)


def _switch(entry: Entry) -> Decision | None:
    """Who switched back by hand; the watch's own switches, and those that were ordered, are told elsewhere."""
    by = text(entry, "by")
    who = person(by)
    if not by.startswith("rollback (") or who in (STELLWERK, person("")):
        return None
    return _of(entry, about="Rollback von Hand", choice="zurückgeschaltet", why=text(entry, "reason"), who=who)


def _user_test(entry: Entry) -> Decision:
    cases, findings = entry.payload.get("cases"), entry.payload.get("findings")
    outcomes = ", ".join(f"{name}: {value}" for name, value in cases.items()) if isinstance(cases, dict) else ""
    found = [one for one in findings if isinstance(one, dict)] if isinstance(findings, list) else []
    why = "; ".join(f"{one.get('severity', '?')}: {one.get('text', '')}" for one in found)
    return _of(entry, about="Abnahmetest", choice=outcomes or "beantwortet", why=why, who=text(entry, "user"))


def _tick(entry: Entry) -> Decision:
    points = entry.payload.get("points")
    ticked = ", ".join(map(str, points)) if isinstance(points, list) else "nichts"
    about = f"Checkliste {text(entry, 'checklist')}".strip()
    return _of(entry, about=about, choice=f"abgehakt: {ticked}", why=text(entry, "comment"))


_TOLD: Final[Mapping[str, Callable[[Entry], Decision | None]]] = {
    DECISION: _gate,
    "gate.silence": _silence,
    "gate.delegated": _delegation,
    "gate.answer-refused": _answer,
    "checklist.ticked": _tick,
    "watch.extended": _answer,
    "watch.accepted": _answer,
    "watch.rollback-ordered": _answer,
    "watch.answer-refused": _answer,
    "watch.answered-late": _answer,
    "feedback.decided": _answer,
    "feedback.silence": _no_answer,
    "database.loss-confirmed": _loss,
    "database.loss-refused": _no_loss,
    "lease.taken-over": _take_over,
    "phase.started": _repeat,
    "switch.back": _switch,
    "uat.answered": _user_test,
}


def refusals(given: Iterable[Entry]) -> tuple[Entry, ...]:
    """The No-Go that stands: of each role of each phase the last answer counts.

    :param given: entries of decisions, in the ledger's order
    """
    last = {(str(one.payload.get("phase")), str(one.payload.get("role"))): one for one in given}
    return tuple(one for one in last.values() if one.payload.get("choice") != GO)


def _of(entry: Entry, *, about: str, choice: str, why: str = "", who: str = "") -> Decision:
    return Decision(
        at=happened(entry),
        about=about,
        who=who or entry.actor,
        role=text(entry, "role"),
        choice=choice,
        why=why,
        environment=entry.environment,
        sequence=entry.sequence,
    )


def _phase(entry: Entry) -> str:
    phase = text(entry, "phase")
    if phase.endswith(".sign-off"):
        return "Abnahme"
    return _PHASES.get(phase, phase or "Go/No-Go")
