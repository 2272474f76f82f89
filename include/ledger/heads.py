"""Heads noted outside the database, where whoever can rewrite the ledger cannot reach them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from upath import UPath

from include.errors import InvalidEntry, LedgerError
from include.ledger.entry import Head

_QUOTED: Final = re.compile(
    r"(?:^|\\n|>)Ledger(?:-Kopf:)? (?:`|<code>)?(\d{1,18}):([0-9a-f]{12,64})(?=`|<|\s|\\n|\"|$)", re.MULTILINE
)

Folder = Path | UPath
"""A local folder or one in object storage (``s3://…``, ``gs://…``)."""


def note_head(folder: Folder, head: Head, now: datetime) -> Folder:
    """Write a head into a file of its own, which is never written again, and return the file.

    :raises LedgerError: the folder cannot be written, or a different head of this sequence lies there
    """
    name = f"head-{head.sequence:010d}-{head.hash[:16]}.json"
    taken_at = now.astimezone(UTC).isoformat()
    text = json.dumps({"sequence": head.sequence, "hash": head.hash, "taken_at": taken_at}, indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / name
        if not file.exists():
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LedgerError(
            f"the ledger's head {head.short} cannot be noted",
            expected=f"a writable folder {folder}",
            seen=str(error),
            remedy="make the folder writable; the next head covers this one too",
        ) from error
    return file


def noted_heads(folder: Folder) -> tuple[Head, ...]:
    """All heads in the folder, in the order of their sequence. A folder without heads is an error: it would
    make a check look stronger than it was.

    :raises LedgerError: the folder cannot be read, holds no head, or one that is damaged
    """
    try:
        files = sorted(file for file in folder.iterdir() if file.name.startswith("head-"))
        heads = [_read(file) for file in files]
    except OSError as error:
        raise LedgerError(
            "the noted heads cannot be read", expected=f"a folder {folder}", seen=str(error)
        ) from error
    if not heads:
        raise LedgerError("no head was noted", expected=f"head-*.json in {folder}", seen="an empty folder")
    return tuple(sorted(heads, key=lambda head: head.sequence))


def read_head(file: Folder) -> Head:
    """One head, from a file that :func:`note_head` wrote.

    :raises LedgerError: the file cannot be read or is damaged
    """
    try:
        return _read(file)
    except OSError as error:
        raise LedgerError("the noted head cannot be read", expected=f"a file {file}", seen=str(error)) from error


def quoted_heads(text: str) -> tuple[Head, ...]:
    """The heads that a text quotes as messages and reports do, on a line of their own; each once, as they come.

    The text may be a mail, a report, or an export of Slack, where line ends are escaped.
    """
    found = (Head(int(number), digest) for number, digest in _QUOTED.findall(text))
    return tuple(dict.fromkeys(found))


def heads_quoted_in(file: Folder) -> tuple[Head, ...]:
    """The heads that a file quotes. One without any is an error: a check must not look stronger than it was.

    :raises LedgerError: the file cannot be read, or quotes none
    """
    try:
        found = quoted_heads(file.read_bytes().decode(errors="replace"))
    except OSError as error:
        raise LedgerError("the text cannot be read", expected=f"a file {file}", seen=str(error)) from error
    if not found:
        raise LedgerError(
            "no head is quoted", expected=f"a line `Ledger 42:1a2b3c4d5e6f` in {file}", seen="none in the text"
        )
    return found


def _read(file: Folder) -> Head:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Head.parse(f"{content['sequence']}:{content['hash']}")
    except (ValueError, KeyError, TypeError, InvalidEntry) as error:
        raise LedgerError(
            f"{file.name} is not a noted head", expected='{"sequence": …, "hash": …}', seen=str(error)
        ) from error
