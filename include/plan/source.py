"""YAML as users write it: read strictly, and every value's line remembered for messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from include.errors import InvalidPlan


class _StrictLoader(yaml.SafeLoader):
    """Refuses duplicate keys: YAML would let the last one win without a word."""

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


class _Refused(Exception):
    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


class Source:
    """One YAML file: its ``content`` and the lines its values stand on.

    :raises InvalidPlan: the file cannot be read, is no YAML, repeats a key, or is no mapping
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPlan(f"{path} cannot be read", seen=str(error)) from error
        try:
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
            raise self.problem(mark.line + 1 if mark else 1, str(error.problem or error.context)) from error
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


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child, child.start_mark.line
    return None
