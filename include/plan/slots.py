"""The two slots, the word everything else is built on."""

from __future__ import annotations

from typing import Final, Literal

Slot = Literal["blue", "green"]

SLOTS: Final[tuple[Slot, Slot]] = ("blue", "green")


def other(slot: Slot) -> Slot:
    """The slot that ``slot`` is not."""
    return "green" if slot == "blue" else "blue"
