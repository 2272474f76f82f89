"""Owns Kubernetes' quantities (``100m``, ``128Mi``): text to number; pure."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_SUFFIXES: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]*)")


def quantity(text: str | float) -> Decimal:
    """The number a quantity stands for: bytes, cores, pieces.

    :raises ValueError: for what is no quantity
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"not a quantity: {text!r}")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def in_units(text: str, divisor: str) -> int:
    """A quantity in units of another one, rounded up, as the downward API gives it; divisor 0 counts as 1."""
    unit = quantity(divisor) or Decimal(1)
    return int((quantity(text) / unit).to_integral_value(ROUND_CEILING))
