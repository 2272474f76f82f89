"""The hierarchy is what its docstring draws, and an error survives the way from a worker to whoever reads it."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from include import errors
from include.errors import ClusterRefused, StellwerkError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, StellwerkError)]


def drawn() -> dict[str, str | None]:
    """Class → parent, read from the tree in the module's docstring."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        text = line.lstrip(" │├└─")
        if not text or not (line.startswith("    ") and text.split()[0].isidentifier()):
            continue
        depth, name = len(line) - len(text), text.split()[0]
        if not hasattr(errors, name):
            continue
        while path and path[-1][0] >= depth:
            path.pop()
        parents[name] = path[-1][1] if path else None
        path.append((depth, name))
    return parents


def test_the_docstring_draws_every_class_below_its_parent():
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES if kind is not StellwerkError}
    assert drawn() == {"StellwerkError": None, **real}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_what_it_means(kind):
    assert kind.__doc__
    assert kind.__doc__ != getattr(kind.__bases__[0], "__doc__", None)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_arrives_whole(kind, through):
    error = kind("the fact", expected="this", seen="that", remedy="act")
    arrived = through(error)
    assert type(arrived) is kind
    assert str(arrived) == "the fact; expected: this; seen: that; do: act"
    assert (arrived.what, arrived.expected, arrived.seen, arrived.remedy) == ("the fact", "this", "that", "act")


def test_the_servers_status_arrives_too():
    error = ClusterRefused("no", status=422)
    assert pickle.loads(pickle.dumps(error)).status == 422
    assert copy.copy(error).status == 422


def test_empty_parts_are_left_out():
    assert str(StellwerkError("the fact")) == "the fact"
    assert str(StellwerkError("the fact", remedy="act")) == "the fact; do: act"
