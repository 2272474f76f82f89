"""Python's collector in a process with hundreds of watches: its pauses stop all of them at once."""

from __future__ import annotations

import gc
from functools import cache
from typing import Final

_YOUNG: Final = 5000
"""Containers more than were freed before the youngest are looked through; Python's own figure is 700."""


@cache
def settle() -> None:
    """Once for each process: whatever it consists of when its first watch begins is not looked through again.

    A triggerer consists of some hundred thousand objects that live as long as it does. Each full collection walks
    through all of them, a third of a second in which no watch sees anything, and reading hundreds of sources calls
    for several in ten seconds. What is freed by counting references, nearly everything, does not change.
    """
    gc.collect()  # what is garbage now would stay for ever
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
