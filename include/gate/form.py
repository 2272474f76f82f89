"""What those who are asked see: short enough for a phone, with what matters most first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from include.gate.checklist import Point
from include.markdown import literal, shown

LONGEST_LINE: Final = 160
"""Characters of a line: three to four lines on a phone."""

MOST_CHANGES: Final = 6
MOST_FACTS: Final = 12
MOST_POINTS: Final = 8
MOST_LINES: Final = 56
"""Lines of a whole question, empty ones included; what cannot be shown is counted and stands in the ledger."""


@dataclass(frozen=True)
class Frame:
    """What belongs to every question of a gate, whatever it is about.

    :param deadline: silence until then is No-Go
    :param timezone: in which times are told, an IANA name
    :param people: how many have to decide
    :param changed: what differs from what was approved before, a line each; empty: nothing was, or it is the same
    :param approved: who approved that, when; empty: nobody
    :param points: of the gate's checklist
    :param delegate: who speaks for the role beside its own people, and who said so; Markdown
    :param lapsed: whose Go for the role is too old; Markdown, empty: nobody's
    """

    deadline: datetime
    timezone: str = "UTC"
    people: int = 2
    changed: tuple[str, ...] = ()
    approved: str = ""
    points: tuple[Point, ...] = ()
    delegate: str = ""
    lapsed: str = ""

    @property
    def until(self) -> str:
        """The deadline in words."""
        local = self.deadline.astimezone(ZoneInfo(self.timezone))
        return f"{local:%Y-%m-%d %H:%M} ({local:%Z})"


def framed(head: str, rows: Sequence[str], facts: Sequence[str], frame: Frame, role: str) -> str:
    """The whole question as Markdown.

    :param head: what is decided about, one sentence of Markdown
    :param rows: ``name: value``, of Markdown
    :param facts: what was found, in plain words; warnings come first, and are shown before what is left out
    """
    lines = [head, *_alone(frame.lapsed), *_alone(frame.delegate), *_difference(frame), *_points(frame, role), ""]
    lines += [f"- {row}" for row in rows]
    lines += [f"- {literal(fact)}" for fact in shortened(warnings_first(facts), MOST_FACTS)]
    lines += [
        "",
        f"Every role has to say Go, at least {frame.people} different people; one No-Go ends the gate.",
        f"**No answer until {frame.until} is No-Go.**",
    ]
    return "\n".join(cut(line) for line in lines)


def shortened(lines: Sequence[str], most: int) -> list[str]:
    """The first of the lines; those that are left out are counted."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"and {len(lines) - most + 1} more, in the log and in the ledger"]


def warnings_first(lines: Sequence[str]) -> list[str]:
    """The same lines, those first that warn."""
    return sorted(lines, key=lambda line: not line.startswith(("warning", "OVERRIDE", "going back")))


def cut(line: str, longest: int = LONGEST_LINE) -> str:
    """The line of Markdown, showing no more than a phone shows well."""
    one = " ".join(line.split())
    seen = shown(one)
    return one if len(seen) <= longest else f"{''.join(seen[: longest - 1]).rstrip()}…"


def packed(title: str, words: Sequence[str]) -> list[str]:
    """``title: a, b, c`` in as few lines as they fit into, none of the words cut out."""
    lines, line = [], f"{title}: "
    for word in words:
        if not line.endswith(": ") and len(line) + len(word) + 2 > LONGEST_LINE - 10:
            lines.append(line)
            line = f"{title}: "
        line += word if line.endswith(": ") else f", {word}"
    return [*lines, line]


def _alone(sentence: str) -> list[str]:
    return ["", sentence] if sentence else []


def _difference(frame: Frame) -> list[str]:
    if not frame.approved:
        return []
    if not frame.changed:
        return ["", f"The same was approved before: {literal(frame.approved)}."]
    head = f"**Changed since it was approved** ({literal(frame.approved)}):"
    return ["", head, *(f"- {literal(line)}" for line in frame.changed)]


def _points(frame: Frame, role: str) -> list[str]:
    theirs = [point for point in frame.points if point.role not in (None, role)]
    settled = [point for point in frame.points if point.role is None]
    own = [point for point in frame.points if point.role == role]
    lines = [f"- {literal(point.line)}" for point in settled]
    lines += [f"- ☐ {literal(point.text)}: yours, tick it below" for point in own]
    if theirs:
        lines.append(f"- {len(theirs)} more asked of {', '.join(sorted({str(one.role) for one in theirs}))}")
    return ["", *shortened(lines, MOST_POINTS)] if lines else []
