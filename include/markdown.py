"""Words of people and of the plan within Markdown: shown as they are, never interpreted.

Airflow renders what is asked as GitHub's Markdown, and mails are written in it: a link, an image or a bold
sentence in somebody's comment would look as if the question said it.
"""

from __future__ import annotations

import re
from typing import Final

from include.messages.limits import one_line

# An entity may also come about with what follows the words.
_ENTITY: Final = re.compile(r"&(?=#?\w*(?:;|$))")
# What is seen as an address at once swallows backslashes: it becomes one when the text is finished.
_ADDRESS: Final = re.compile(r"(?<=http)(?=://)|(?<=https)(?=://)|(?<=www)(?=\.)", re.IGNORECASE)
# Underscores within a word mean nothing, and names of tables and settings stay readable in the log.
_SIGNS: Final = re.compile(r"([\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_]))")
_BEGINS: Final = re.compile(r"^(#{1,6}(?=\s|$)|[-+](?=\s|$)|[-=](?=[-=\s]*$)|>)", re.MULTILINE)
_NUMBERS: Final = re.compile(r"^(\d{1,9})([.)])(?=\s|$)", re.MULTILINE)
_SHOWN: Final = re.compile(r"\\[!-/:-@\[-`{-~]|&(?:lt|amp);|.")


def literal(words: object) -> str:
    """Markdown that shows the words, on one line. An address stays one, and leads where it says."""
    return escaped(one_line(str(words)))


def escaped(text: str) -> str:
    """Markdown that shows the text, wherever it is put in."""
    text = _ENTITY.sub("&amp;", text).replace("<", "&lt;")
    text = _ADDRESS.sub(r"\\", _SIGNS.sub(r"\\\1", text))
    return _NUMBERS.sub(r"\1\\\2", _BEGINS.sub(r"\\\1", text))


def shown(line: str) -> list[str]:
    """The characters that a line of Markdown shows, each as it is written there; its own marks count as shown."""
    return _SHOWN.findall(line)
