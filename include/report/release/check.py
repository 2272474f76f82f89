"""Whether a written report is what its ledger says: entries up to the head that it names give the same text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from include.errors import ReportError, StellwerkError
from include.ledger.entry import Entry, Head
from include.ledger.examination import examine
from include.report.folder import sealed, untouched
from include.report.release.document import documents, markdown
from include.report.release.draft import release_report
from include.version import VERSION

_HEAD: Final = re.compile(
    r"^(?:<p>)?Ledger-Kopf: (?:`|<code>)(\d{1,18}):([0-9a-f]{64})(?:`|</code>)", re.MULTILINE
)
_MADE_BY: Final = re.compile(r"erzeugt von Stellwerk (\S+)\.(?:</p>)?$", re.MULTILINE)


@dataclass(frozen=True)
class Checked:
    """What a look at a report gave.

    :param head: that it names
    :param problems: why it is not what its ledger says, a sentence each; empty when it is
    """

    head: Head
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """It is what its ledger says."""
        return not self.problems


def head_named(text: str) -> Head:
    """The head that a report names.

    :param text: of its Markdown or its HTML
    :raises ReportError: none, or several
    """
    found = {Head(int(number), digest) for number, digest in _HEAD.findall(text)}
    if len(found) != 1:
        raise ReportError(
            "the report does not name the ledger's head that it was made from",
            expected="one line `Ledger-Kopf: <sequence>:<hash>`",
            seen=", ".join(sorted(head.short for head in found)) or "none",
            remedy="write it again from the ledger: python -m include.report.release write",
        )
    return found.pop()


def check(text: str, name: str, entries: Sequence[Entry]) -> Checked:
    """Compare a report with a ledger.

    :param text: of the file, as it was read
    :param name: of the file: ``<stem>.md`` or ``<stem>.html``
    :param entries: the whole ledger, from its first entry
    :raises ReportError: it names no head
    """
    head = head_named(text)
    return Checked(head, tuple(_problems(text, name, head, entries)))


def _problems(text: str, name: str, head: Head, entries: Sequence[Entry]) -> Iterator[str]:
    if not untouched(text):
        yield "the file was changed after it had been written: its checksum does not fit"
    # What came after the head is no matter of this report.
    known = [entry for entry in entries if entry.sequence <= head.sequence]
    faults = examine(known, [head]).faults
    yield from (f"ledger {fault.damage}: {fault.sentence}" for fault in faults)
    newest = next((entry for entry in known if entry.sequence == head.sequence), None)
    if faults or newest is None:
        return
    made_by = _MADE_BY.search(text)
    if made_by is None or made_by.group(1) != VERSION:
        other = made_by.group(1) if made_by else "an unknown version"
        yield f"made by Stellwerk {other}, this is {VERSION}: the text cannot be compared"
        return
    stem, _, kind = name.rpartition(".")
    try:
        found = release_report([entry for entry in known if entry.release == newest.release])
        again = markdown(found, stem=stem) if kind == "md" else documents(found, stem=stem).get(name)
    except StellwerkError as error:
        yield f"no report can be made from the ledger: {error.what}"
        return
    if again is None or sealed(again) != text:
        yield "the ledger up to that head gives another text"
