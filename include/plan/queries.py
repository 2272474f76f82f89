"""Queries of the plan's own: PromQL with a few names that are filled in for the slot that is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

NAMES: Final = ("slot", "namespace", "window", "selector")
"""What a query may name. ``$window`` is like ``10s``; ``$selector`` is all label matchers of the slot, which fit
an adopted installation, too."""

# A $ before anything but a name is PromQL's own: the end of a regular expression.
_NAME: Final = re.compile(r"\$(?:\$|(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[^}]*)\})")


def check_query(text: str) -> str:
    """Return the query.

    :raises ValueError: it names something that nobody fills in
    """
    unknown = [name for name in _names(text) if name not in NAMES]
    if unknown:
        known = ", ".join(f"${name}" for name in NAMES)
        raise ValueError(f"the query names ${unknown[0]}, and only {known} are filled in (a literal $ is $$)")
    return text


def fill_query(text: str, values: Mapping[str, str]) -> str:
    """The query with its names replaced; each of :data:`NAMES` has to have a value, ready to stand in PromQL.

    :raises KeyError: a name without a value
    """

    def value(found: re.Match[str]) -> str:
        name = found["bare"] or found["braced"]
        return "$" if name is None else values[name]

    return _NAME.sub(value, text)


def _names(text: str) -> list[str]:
    found = (one["bare"] if one["bare"] is not None else one["braced"] for one in _NAME.finditer(text))
    return [name for name in found if name is not None]
