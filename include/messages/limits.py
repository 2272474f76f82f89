"""How long what is said may be, and what may be in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

LONGEST_FACT: Final = 1500
"""Characters of one fact that a message repeats; the rest is in the ledger and the task's log."""

LONGEST_NAME: Final = 250
"""Characters of a version or of a run's id."""

LONGEST_POST: Final = 4000
"""Characters of a post: beyond it Slack splits a text, beyond 40,000 it cuts it."""

LONGEST_SUBJECT: Final = 150
"""Characters of a mail's subject: more than mail programs show, less than a line of a header may have."""

MOST_LINES: Final = 30
"""Points of a list that a message repeats."""

_CUT: Final = "[…]"
# They turn the order of what is read around, or end a line where nobody sees one.
_INVISIBLE: Final = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def shortened(fact: str, longest: int = LONGEST_FACT) -> str:
    """The fact on one line, without control characters, cut where it becomes too long for a message."""
    line = one_line(fact)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def one_line(fact: str) -> str:
    """The fact on one line, without control characters, and without what would turn its order around."""
    return " ".join("".join(map(_harmless, fact)).split())


def cut(text: str, longest: int) -> str:
    """A rendered post that fits: its beginning and its last two lines stay, and what is left out is marked."""
    if len(text) <= longest:
        return text
    lines = text.rstrip("\n").split("\n")
    end = "\n".join([_CUT, *lines[-2:]])[-(longest // 2) :]
    room = longest - len(end) - 2
    # An entity that is cut in two would be shown as what it stands for no more.
    begin = re.sub(r"&[a-z]{0,4}$", "", "\n".join(lines[:-2])[:room])
    return f"{begin.rstrip()}\n{end}\n"


def listed(facts: Sequence[str], most: int = MOST_LINES) -> tuple[list[str], int]:
    """The facts, each on one line, and how many more there are than a message repeats."""
    return [shortened(fact) for fact in facts[:most]], max(0, len(facts) - most)


def _harmless(character: str) -> str:
    if character in _INVISIBLE:
        return " "
    category, number = unicodedata.category(character), ord(character)
    if category == "Cs" or number & 0xFFFE == 0xFFFE:  # half a character, or none: neither UTF-8 nor XML has it
        return "\N{REPLACEMENT CHARACTER}"
    return " " if category == "Cc" else character
