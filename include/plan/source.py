"""YAML as users write it: read strictly, and every value's line remembered for messages.

A file holds what JSON can hold, and no more: text, numbers, truth values, lists, mappings. ``10:00`` is text and
not the 600 that YAML 1.1 makes of it, a date is text, and anchors are refused: an alias of an alias is a bomb.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from include.errors import InvalidPlan

LARGEST_BYTES: Final = 500_000
DEEPEST: Final = 20

_PREFIX: Final = "tag:yaml.org,2002:"
_KINDS: Final = ("null", "bool", "int", "float", "str", "seq", "map")
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
_FLOAT: Final = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$")


class _StrictLoader(yaml.CSafeLoader):
    """Refuses duplicate keys (YAML would let the last one win without a word) and all but JSON's types."""

    yaml_constructors = {  # noqa: RUF012 - PyYAML's own, narrowed
        tag: constructor
        for tag, constructor in yaml.CSafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_PREFIX) in _KINDS
    }
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, regexp) for tag, regexp in resolvers if tag.removeprefix(_PREFIX) in ("null", "bool")]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise _Refused(line, f"the key {key!r} is not text: put it in quotes")
            if key in seen:
                raise _Refused(line, f"the key {key!r} appears twice (first in line {seen[key]})")
            seen[key] = line
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(f"{_PREFIX}float", _FLOAT, list("-+.0123456789"))
_StrictLoader.add_implicit_resolver(f"{_PREFIX}int", _INT, list("-+0123456789"))


class _Refused(Exception):
    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


class Source:
    """One YAML file: its ``content`` and the lines its values stand on.

    :raises InvalidPlan: the file cannot be read, is too large or nested too deep, is no YAML, repeats a key, uses
        an anchor, or is no mapping
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = self._text()
        try:
            _refuse_bombs(text)
            loader = _StrictLoader(text)
            try:
                node = loader.get_single_node()
                content = None if node is None else loader.construct_document(node)
            finally:
                loader.dispose()
        except _Refused as error:
            raise self.problem(error.line, error.why) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            why = str(error.problem or error.context)
            tab = " (a tab? indent with spaces)" if "cannot start any token" in why else ""
            raise self.problem(mark.line + 1 if mark else 1, why + tab) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.problem(1, str(error) or type(error).__name__) from error
        if not isinstance(content, dict) or node is None:
            raise self.problem(1, "not a mapping of keys to values")
        self.content: dict[str, Any] = content
        self._root: yaml.Node = node

    def line(self, location: Sequence[str | int]) -> int:
        """The line of the value at ``location``, or of the nearest enclosing one that exists."""
        node, line = self._root, self._root.start_mark.line
        for step in location:
            found = _child(node, step)
            if found is None:
                break
            node, line = found
        return int(line) + 1

    def problem(self, line: int, why: str) -> InvalidPlan:
        """The error for something wrong on ``line``."""
        return InvalidPlan(f"{self.path}:{line}: {why}", remedy="correct the file")

    def _text(self) -> str:
        try:
            with self.path.open("rb") as stream:
                data = stream.read(LARGEST_BYTES + 1)
            if len(data) > LARGEST_BYTES:
                raise self.problem(1, f"larger than {LARGEST_BYTES} bytes: no plan is")
            return data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPlan(f"{self.path} cannot be read", seen=str(error)) from error


def _refuse_bombs(text: str) -> None:
    """Refuse what must not even be composed: that recurses in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_StrictLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) is not None:
            raise _Refused(line, "anchors and aliases (& and *) are not allowed: write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _Refused(line, f"nested more than {DEEPEST} levels deep")


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child, child.start_mark.line
    return None
