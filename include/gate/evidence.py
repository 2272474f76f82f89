"""Whether a record says what a point of a checklist says: that a step has ended is not that it went well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from include.ledger.entry import Entry, newest_of

Standing = Literal["settled", "open", "unknown"]
"""``open``: somebody has yet to tick it, or its evidence speaks against it; ``unknown``: there is no evidence."""

Found = tuple[Standing, str]

_BEGUN: Final = "migration.intended"
_APPLIED: Final = "migration.applied"
_NOTHING: Final = "migration.changed-nothing"
_FAILED: Final = "migration.watch-failed"
_KEPT: Final = "database.loss-refused"
_ENDED: Final = "watch.ended"
_ACCEPTED: Final = "watch.accepted"
_CUTOVER: Final = "cutover.done"
_REPORT: Final = "report.written"
JUDGED_BY: Final = (_BEGUN, _APPLIED, _NOTHING, _FAILED, _KEPT, _ENDED, _ACCEPTED, _CUTOVER)
"""The kinds of entries that a record is judged by, beside itself."""

_INSTEAD: Final[Mapping[str, str]] = {"watch.passed": _ENDED, "migration.watched": _FAILED}
"""What says that a step has ended without the record that would settle a point."""


def judged(record: Entry, entries: Sequence[Entry]) -> Found | None:
    """What a record says of the point that it is to settle; None where it says no more than that it is there.

    :param entries: of the release in its environment, oldest first
    """
    judge = _JUDGES.get(record.kind)
    return judge(record, entries) if judge else None


def of_attempt(kind: str, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries among which a record of this kind counts: a report is about the attempt whose run wrote it, so
    that only what the run of the newest cutover has written since is about that.
    """
    if kind != _REPORT:
        return entries
    cut = newest_of(entries, _CUTOVER)
    if cut is None:
        return ()
    return [entry for entry in entries if entry.sequence > cut.sequence and entry.run_id == cut.run_id]


def ended_badly(kind: str, entries: Sequence[Entry]) -> Entry | None:
    """What says that a step has ended without a record of this kind; None where it has left one since."""
    for entry in reversed(entries):
        if entry.kind == kind:
            return None
        if entry.kind == _INSTEAD.get(kind) and entry.payload.get("result") not in ("PASSED", "ACCEPTED"):
            return entry
    return None


def _watch(record: Entry, entries: Sequence[Entry]) -> Found | None:
    """A person who accepts a watch overrules what it has seen; that is no proof."""
    result, said = record.payload.get("result"), str(record.payload.get("sentence", ""))
    if result == "PASSED":
        return None
    spite = _newest_of_run(record, entries, _ACCEPTED)
    reports = "; ".join(map(str, spite.payload.get("overruled", ()))) if spite else ""
    said = f"{said}; in spite of: {reports}" if reports else said
    return ("open", said) if result else ("unknown", "how the watch ended is not recorded")


def _unpassed(record: Entry, _: Sequence[Entry]) -> Found | None:
    told = record.payload
    if not (result := told.get("result")):
        return "unknown", "how the watch ended is not recorded"
    return "open", f"the watch did not pass ({result}): {told.get('sentence', '')}".rstrip(": ")


def _schema_unpassed(record: Entry, entries: Sequence[Entry]) -> Found | None:
    told = f"the watch did not pass: {record.payload.get('sentence', '')}".rstrip(": ")
    return _migration(record, entries) or ("open", f"{told}{_kept(record, entries)}")


def _kept(failed: Entry, entries: Sequence[Entry]) -> str:
    """Who has kept a schema whose watch did not pass; empty where nobody has decided, or it is taken back."""
    kept = _newest_of_run(failed, entries, _KEPT)
    if kept is None or kept.sequence < failed.sequence:
        return ""
    return f"; the schema was kept: {kept.payload.get('why') or 'nobody has said why'}"


def _newest_of_run(record: Entry, entries: Sequence[Entry], kind: str) -> Entry | None:
    of_run = (entry for entry in reversed(entries) if (entry.kind, entry.run_id) == (kind, record.run_id))
    return next(of_run, None)


def _cutover(record: Entry, _: Sequence[Entry]) -> Found:
    """It is recorded whatever users have seen of it: a request that was lost is downtime, one that the old version
    still answered is none, and is said.
    """
    seen = record.payload.get("observation") or {}
    if "lost" not in seen:
        return "unknown", str(seen.get("sentence") or "nobody watched the switch")
    return "open" if seen["lost"] else "settled", str(seen.get("sentence", ""))


def _migration(record: Entry, entries: Sequence[Entry]) -> Found | None:
    """A watch is about one migration; after a later one nobody knows of this."""
    migrated = int(record.payload.get("migrated") or record.sequence)
    later = [entry for entry in entries if entry.sequence > migrated]
    for entry in reversed(later):
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
    _ENDED: _unpassed,
    _FAILED: _schema_unpassed,
    _CUTOVER: _cutover,
    "migration.watched": _migration,
}
