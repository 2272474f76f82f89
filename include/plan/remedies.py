"""What pydantic found, in words that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from include.plan.rules import PlanModel


def words(model: type[PlanModel], kind: str, message: str, place: Sequence[str | int]) -> str:
    """The sentence for one error.

    :param kind: pydantic's name of it
    :param place: of the value, from the top of the file
    """
    if kind == "missing":
        return "is missing: add it"
    if kind == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _keys(model, place[:-1]), n=1)
        meant = f"did you mean {near[0]!r}?" if near else "correct its spelling, or remove it"
        return f"is no key that belongs here: {meant}"
    return message.removeprefix("Value error, ")


def _keys(model: type[PlanModel], place: Sequence[str | int]) -> list[str]:
    """The keys that belong at a place."""
    schema = model.model_json_schema(by_alias=True)
    nodes = [schema]
    for step in place:
        nodes = [child for node in nodes for child in _below(node, step, schema)]
    return sorted({key for node in nodes for one in _resolved(node, schema) for key in one.get("properties", ())})


def _below(node: Mapping[str, Any], step: str | int, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in _resolved(node, schema):
        inner = one.get("items") if isinstance(step, int) else one.get("properties", {}).get(step)
        inner = one.get("additionalProperties") if inner is None else inner
        if isinstance(inner, dict):
            yield inner


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if reference := node.get("$ref"):
        node = schema["$defs"][str(reference).rpartition("/")[2]]
    yield node
    for other in node.get("anyOf", ()):
        yield from _resolved(other, schema)
