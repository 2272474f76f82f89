"""Whether a record says what a point of a checklist says: that a step has ended is not that it went well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from include.ledger.entry import Entry

Standing = Literal["settled", "open", "unknown"]
"""``open``: somebody has yet to tick it, or its evidence speaks against it; ``unknown``: there is no evidence."""

Found = tuple[Standing, str]

_BEGUN: Final = "migration.intended"
_APPLIED: Final = "migration.applied"
_NOTHING: Final = "migration.changed-nothing"
_FAILED: Final = "migration.watch-failed"
JUDGED_BY: Final = (_BEGUN, _APPLIED, _NOTHING, _FAILED)
"""The kinds of entries that a record is judged by, beside itself."""


def judged(record: Entry, entries: Sequence[Entry]) -> Found | None:
    """What speaks against a point that this record is to settle, or leaves it unknown; None where nothing does.

    :param entries: of the release in its environment, oldest first
    """
    judge = _JUDGES.get(record.kind)
    return judge(record, entries) if judge else None


def _watch(record: Entry, _: Sequence[Entry]) -> Found | None:
    """A person who accepts a watch overrules what it has seen; that is no proof."""
    result, said = record.payload.get("result"), str(record.payload.get("sentence", ""))
    if result == "PASSED":
        return None
    return ("open", said) if result else ("unknown", "how the watch ended is not recorded")


def _cutover(record: Entry, _: Sequence[Entry]) -> Found | None:
    """It is recorded whatever users have seen of it."""
    seen = record.payload.get("observation") or {}
    if "lost" not in seen:
        return "unknown", str(seen.get("sentence") or "nobody watched the switch")
    return ("open", str(seen.get("sentence", ""))) if seen["lost"] or seen.get("old_after_new") else None


def _migration(record: Entry, entries: Sequence[Entry]) -> Found | None:
    """A watch is about one migration; after a later one, or a watch that did not pass, nobody knows of this."""
    migrated = int(record.payload.get("migrated") or record.sequence)
    later = [entry for entry in entries if entry.sequence > migrated]
    for entry in reversed(later):
        if entry.kind == _FAILED and entry.sequence > record.sequence:
            return "open", f"a later watch did not pass: {entry.payload.get('sentence', '')}".rstrip(": ")
        if entry.kind == _APPLIED:
            return "open", f"nobody has watched what was migrated at {entry.at:%Y-%m-%d %H:%M} UTC"
        if entry.kind == _BEGUN and not _ended(entry, later):
            return "open", f"a migration has begun at {entry.at:%Y-%m-%d %H:%M} UTC and has no end"
    return None


def _ended(begun: Entry, later: Sequence[Entry]) -> bool:
    return any(
        entry.kind in (_APPLIED, _NOTHING)
        and (entry.run_id, entry.sequence > begun.sequence) == (begun.run_id, True)
        for entry in later
    )


_JUDGES: Final[Mapping[str, Callable[[Entry, Sequence[Entry]], Found | None]]] = {
    "watch.passed": _watch,
    "cutover.done": _cutover,
    "migration.watched": _migration,
}
