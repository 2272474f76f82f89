"""What the watched slot logs that the slot which was left does not: kinds of error and warning lines.

A line becomes a signature: numbers, ids, times and addresses are taken out, so that the same trouble is the same
text in every pod. Lines are JSON objects (``level``, ``message``, ``exception``) or plain text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.slo.samples import LogSample, LogSignature

Level = Literal["error", "warning"]
Signatures = Mapping[tuple[Level, str], int]

_LONGEST: Final = 200
_MOST_SHOWN: Final = 20
# A line without any of these is none: nearly all lines of a busy application are told by this alone.
_WORDS: Final = (b"err", b"warn", b"fatal", b"critical", b"panic", b"emerg", b"alert", b"exception", b"severe")
_ERROR: Final = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE|EMERG(?:ENCY)?)\b|\bpanic:|\[(?:error|fatal|crit|alert)\]"
)
_WARNING: Final = re.compile(r"\bWARN(?:ING)?\b|\[warn(?:ing)?\]")
_RAISED: Final = re.compile(r"^[\w.$]*(?:Error|Exception)\b(?::|$)")
_LEVELS: Final[Mapping[str, Level]] = {
    **dict.fromkeys(
        ("error", "err", "fatal", "critical", "panic", "severe", "alert", "emerg", "emergency"), "error"
    ),
    **dict.fromkeys(("warn", "warning"), "warning"),
}
_TIME: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_VARIABLE: Final = re.compile(
    rf"(?P<time>{_TIME}|\b\d\d:\d\d:\d\d(?:[.,]\d+)?)"
    r"|(?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"
    r"|(?P<address>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b)"
    r"|(?P<id>\b(?:0x)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b)"
    r"|(?P<number>\d+(?:[.,]\d+)*)"
)


def signature(line: str) -> tuple[Level, str] | None:
    """The kind of one line; None for a line that is neither an error nor a warning."""
    document = _document(line)
    if document is not None:
        return _structured(document)
    text = line.strip()
    if _RAISED.match(text) or _ERROR.search(text):
        return "error", normalised(text)
    if _WARNING.search(text):
        return "warning", normalised(text)
    return None


def normalised(text: str) -> str:
    """A text without what differs each time: times, ids, addresses, numbers; of bounded length."""
    short = " ".join(text[: 5 * _LONGEST].split())
    return _VARIABLE.sub(lambda found: f"<{found.lastgroup}>", short)[:_LONGEST]


def signatures(text: str) -> Counter[tuple[Level, str]]:
    """Every kind of error and warning in a log, and how often it is there."""
    return Counter(found for line in _interesting(text.encode()) if (found := signature(line)) is not None)


def _interesting(text: bytes) -> Iterator[str]:
    """The lines with a word in them that an error or a warning has."""
    lowered, starts = text.lower(), set[int]()
    for word in _WORDS:
        at = lowered.find(word)
        while at >= 0:
            starts.add(lowered.rfind(b"\n", 0, at) + 1)
            end = lowered.find(b"\n", at)
            at = lowered.find(word, end) if end >= 0 else -1
    for start in sorted(starts):
        end = text.find(b"\n", start)
        yield text[start : end if end >= 0 else None].decode("utf-8", "replace")


def compared(watched: Signatures, left: Iterable[tuple[Level, str]], at: float) -> LogSample:
    """What only the watched slot has, the most frequent first, errors before warnings.

    :param at: seconds since the epoch
    """
    known = set(left)
    new = [
        LogSignature(text, level, count) for (level, text), count in watched.items() if (level, text) not in known
    ]
    new.sort(key=lambda one: (one.level != "error", -one.count, one.text))
    return LogSample(at, tuple(new[:_MOST_SHOWN]))


@dataclass(frozen=True)
class Seen:
    """The signatures of one slot over the whole watch, bounded."""

    counts: Signatures

    def adding(self, more: Signatures, *, most: int = 500) -> Seen:
        """With what another look found; beyond ``most`` kinds the rarest are forgotten."""
        total = Counter(self.counts)
        total.update(more)
        return Seen(dict(total.most_common(most)))


def _document(line: str) -> Mapping[str, Any] | None:
    start = line.find("{")
    if start < 0 or start > 64 or not line.rstrip().endswith("}"):
        return None
    try:
        document = json.loads(line[start:])
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _structured(document: Mapping[str, Any]) -> tuple[Level, str] | None:
    level = _LEVELS.get(str(document.get("level") or document.get("severity") or "").lower())
    if level is None:
        return None
    words = [
        str(document.get("logger") or ""),
        str(document.get("message") or document.get("msg") or document.get("event") or ""),
        *_last_line(document.get("exception") or document.get("error") or document.get("exc_info")),
    ]
    return level, normalised(": ".join(word for word in words if word))


def _last_line(exception: object) -> Iterator[str]:
    """Of a stack trace what was raised; where from changes with every version."""
    lines = [line for line in str(exception or "").splitlines() if line.strip()]
    if lines:
        yield lines[-1].strip()
