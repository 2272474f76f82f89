"""What an approval covers, part by part in words, and what differs from what was approved before.

The fingerprint decides; the parts tell people why it is another one. They are kept in the ledger, so that what
looks like a secret stands there as the beginning of a digest only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

LONGEST_TEXT: Final = 48
"""Characters of a value that a phone shows on one line."""

MOST_LINES: Final = 8
"""Lines of a difference that are shown; the rest is counted."""

NOTHING: Final = "nothing"
"""How a value that is not there is told."""

_SECRET: Final = re.compile(
    r"passw|secret|token|credential|private|api_?key|dsn|connection_?string", re.IGNORECASE
)
_URL_LOGIN: Final = re.compile(r"://[^/@\s]+@")
_DIGEST: Final = 12


def covered_parts(content: Mapping[str, Any]) -> dict[str, str]:
    """Every leaf of what a fingerprint is taken over, by its dotted name, as a short text.

    A Helm value that both slots have is one part.

    :param content: mappings, lists, texts, numbers, booleans and None; ``values`` by slot
    """
    rest = dict(_leaves("", {name: value for name, value in content.items() if name != "values"}))
    slots = {slot: dict(_leaves("", values)) for slot, values in content.get("values", {}).items()}
    for slot, leaves in slots.items():
        for name, text in leaves.items():
            shared = all(other.get(name) == text for other in slots.values())
            rest[f"values.{name}" if shared else f"values.{slot}.{name}"] = text
    return {name: text for name, text in rest.items() if text != NOTHING}


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What differs, a line each, shortest names first; no more than :data:`MOST_LINES`."""
    changed = sorted(
        (name for name in {*before, *now} if before.get(name) != now.get(name)), key=lambda name: (len(name), name)
    )
    lines = [f"{_printable(name)}: {before.get(name, NOTHING)} → {now.get(name, NOTHING)}" for name in changed]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more"]
    return tuple(lines)


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for index, inner in enumerate(value):
            yield from _leaves(f"{name}.{index}", inner)
    else:
        yield name, _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    said = NOTHING if value is None or value == "" or value == {} else str(value)
    said = _printable(said)
    if isinstance(value, str) and (_SECRET.search(name) or _URL_LOGIN.search(value)):
        return f"(hidden, {_digest(value)})"
    if re.fullmatch(r"(sha256:)?[0-9a-f]{40,}", said):
        return said.removeprefix("sha256:")[:_DIGEST]
    # Two long texts that begin alike are still told apart.
    return said if len(said) <= LONGEST_TEXT else f"{said[: LONGEST_TEXT - _DIGEST - 3]}… {_digest(said)}"


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_DIGEST]
