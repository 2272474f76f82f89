"""The evidence of a release: what was recorded as checked, with what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from include.ledger.entry import SHORT_HASH
from include.report.names import details, name_of
from include.report.release.history import History
from include.report.release.model import Proof
from include.report.text import happened

_LONGEST: Final = 400
"""Characters of one finding; the whole is in the ledger."""


def proofs(history: History) -> tuple[Proof, ...]:
    """Every piece of evidence, the oldest first."""
    found = [
        Proof(
            happened(entry),
            name_of(entry.kind),
            _shortened(_FOUND[entry.kind](entry.payload)),
            entry.environment,
            entry.sequence,
        )
        for entry in history.entries
        if entry.kind in _FOUND
    ]
    return tuple(sorted(found, key=lambda one: (one.at, one.sequence)))


def _image(told: Mapping[str, Any]) -> str:
    return f"{told.get('reference', '?')} ist {told.get('digest', 'nicht festgelegt')}"


def _backup(told: Mapping[str, Any]) -> str:
    size, restored = told.get("size"), told.get("restore_seconds")
    parts = [str(told.get("backup") or "ohne Namen"), f"SHA-256 {str(told.get('sha256', ''))[:SHORT_HASH]}"]
    parts += [f"{size:,} Bytes".replace(",", ".")] if isinstance(size, int) else []
    parts += [f"Stufe {told['level']}"] if told.get("level") else []
    parts += (
        [f"wiederhergestellt in {restored:.1f} s".replace(".", ",")] if isinstance(restored, int | float) else []
    )
    return "; ".join(parts)


def _rehearsal(told: Mapping[str, Any]) -> str:
    old, back = told.get("old_version"), told.get("way_back")
    parts = [f"Revisionen {_list(told.get('steps'))}"]
    if isinstance(old, dict):
        parts.append(
            f"alte Version auf dem neuen Schema {'nachgewiesen' if old.get('proven') else 'nicht nachgewiesen'}"
        )
    if isinstance(back, dict):
        parts.append(f"Rückweg {'geprobt' if back.get('proven') else 'nicht geprobt'}")
    return "; ".join(parts)


def _migrated(told: Mapping[str, Any]) -> str:
    tables = told.get("tables")
    counted = f"; {len(tables)} Tabellen" if isinstance(tables, list) else ""
    return f"Revision {_list(told.get('revisions'))}{counted}"


def _checks(told: Mapping[str, Any]) -> str:
    checks = told.get("checks") or told.get("results")
    if not isinstance(checks, list):
        return _any(told)
    return f"{len(checks)} Prüfungen: {'; '.join(map(str, checks))}"


def _approved(told: Mapping[str, Any]) -> str:
    return (
        f"durch {_list(told.get('people'))}, für Fingerabdruck {str(told.get('fingerprint') or 'unbekannt')[:19]}"
    )


def _any(told: Mapping[str, Any]) -> str:
    return str(told.get("sentence") or "") or details(told) or "festgehalten"


def _window(told: Mapping[str, Any]) -> str:
    findings = told.get("findings")
    rules = (
        [one for one in findings if isinstance(one, list) and len(one) >= 2] if isinstance(findings, list) else []
    )
    judged = f"; {', '.join(f'{one[0]} {one[1]}' for one in rules)}" if rules else ""
    return f"{told.get('result', '?')}: {told.get('sentence') or 'ohne Befund'}{judged}"


def _result(told: Mapping[str, Any]) -> str:
    parts = [str(told.get("result") or "ohne Ergebnis")]
    figures = told.get("figures")
    parts += [f"{name} {_figure(value)}" for name, value in figures.items()] if isinstance(figures, dict) else []
    for name in ("reasons", "silent"):
        parts += [str(one) for one in told.get(name) or ()] if isinstance(told.get(name), list) else []
    findings = told.get("findings")
    parts += [f"{len(findings)} Befunde"] if isinstance(findings, list) else []
    return "; ".join(parts)


def _settled(told: Mapping[str, Any]) -> str:
    lists = told.get("lists")
    points = (
        {name: list(found) for name, found in lists.items() if isinstance(found, dict)}
        if isinstance(lists, dict)
        else {}
    )
    return "; ".join(f"{name}: {', '.join(found)}" for name, found in points.items()) or "festgehalten"


_FOUND: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "image.resolved": _image,
    "gate.approved": _approved,
    "backup.verified": _backup,
    "rehearsal.done": _rehearsal,
    "rehearsal.proved": _any,
    "migration.verified": _migrated,
    "migration.watched": _any,
    "staging.urls-verified": _checks,
    "staging.load-measured": _result,
    "uat.concluded": _result,
    "checklist.settled": _settled,
    "verify.passed": _checks,
    "drain.done": _any,
    "watch.ended": _window,
    "release.verified": _checks,
    "release.signed-off": _approved,
    "rollback.verified": _checks,
    "restore.done": _any,
}


def _figure(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nichts"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) and value else "nicht festgehalten"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
