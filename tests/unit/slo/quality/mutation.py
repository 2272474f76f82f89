"""Break the evaluator on purpose: change lines of a module's source, everywhere it is used, and mend it again."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """``changes`` are (what stands in the module, what the mutant has instead).

    :param families: of the traces that are most likely to notice: they are asked first
    """

    name: str
    module: str
    changes: tuple[tuple[str, str], ...]
    families: tuple[str, ...] = ()


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """The evaluator with the mutant's change in it, everywhere it is used.

    :raises AssertionError: the line that was to be changed is not there any more
    """
    module = importlib.import_module(mutant.module)
    source = inspect.getsource(module)
    for old, new in mutant.changes:
        assert old in source, f"{mutant.name}: {old!r} does not stand in {mutant.module} any more"
        source = source.replace(old, new)
    changed = types.ModuleType(mutant.module)
    changed.__file__ = module.__file__
    exec(compile(source, str(module.__file__), "exec"), changed.__dict__)
    undo = list(_swap(module, changed))
    try:
        yield
    finally:
        for holder, name, value in reversed(undo):
            setattr(holder, name, value)


def _swap(module: types.ModuleType, changed: types.ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Put the changed functions, methods and constants in the place of the old ones, wherever those are held."""
    for name, old in list(vars(module).items()):
        new = vars(changed).get(name)
        if isinstance(old, type) and old.__module__ == module.__name__:
            for member, value in list(vars(old).items()):
                if isinstance(value, types.FunctionType | property) or type(value).__name__ == "cached_property":
                    yield old, member, value
                    setattr(old, member, vars(new)[member])
            vars(changed)[name] = old
        elif isinstance(old, types.FunctionType) and old.__module__ == module.__name__:
            for holder in list(sys.modules.values()):
                if holder.__name__.startswith("include.") and vars(holder).get(name) is old:
                    yield holder, name, old
                    setattr(holder, name, new)
