"""Entries as lines of text, one JSON object each, and back: a ledger to be looked at without its database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from include.errors import InvalidEntry, LedgerError
from include.ledger.entry import Entry, canonical, stamp
from include.ledger.heads import Folder

_TEXTS = ("kind", "release", "environment", "run_id", "actor", "previous", "hash")


def exported(entry: Entry) -> str:
    """The entry as one line, with everything that its hash covers."""
    fields = {
        name: getattr(entry, name) for name in ("sequence", "kind", "release", "environment", "run_id", "actor")
    }
    fields |= {"key": entry.key, "at": stamp(entry.at), "recorded_at": stamp(entry.recorded_at)}
    fields |= {"payload": dict(entry.payload), "previous": entry.previous, "hash": entry.hash}
    return json.dumps(fields)


def imported(lines: Iterable[str]) -> tuple[Entry, ...]:
    """The entries that :func:`exported` wrote, in the order of the lines; empty lines are passed over.

    :raises LedgerError: a line is none
    """
    return tuple(_entry(number, line) for number, line in enumerate(lines, 1) if line.strip())


def read_export(file: Folder) -> tuple[Entry, ...]:
    """The entries of an exported file.

    :raises LedgerError: it cannot be read, or a line is none
    """
    try:
        return imported(file.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise LedgerError("the export cannot be read", expected=f"a file {file}", seen=str(error)) from error


def _entry(number: int, line: str) -> Entry:
    try:
        told = json.loads(line)
        return Entry(
            sequence=int(told["sequence"]),
            key=None if told["key"] is None else str(told["key"]),
            at=datetime.fromisoformat(told["at"]),
            recorded_at=datetime.fromisoformat(told["recorded_at"]),
            payload_json=canonical(told["payload"]),
            **{name: str(told[name]) for name in _TEXTS},
        )
    except (ValueError, KeyError, TypeError, InvalidEntry) as error:
        raise LedgerError(
            f"line {number} is no entry of a ledger",
            expected="lines of `python -m include.ledger show --json`",
            seen=f"{type(error).__name__}: {error}",
            remedy="export the whole ledger again",
        ) from error
