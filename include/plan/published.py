"""The JSON Schema of the plan's files, for editors: they complete keys, explain them, and show what is wrong."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from include.plan.models import Environment, Release
from include.plan.rules import PlanModel

FOLDER: Final = Path(__file__).resolve().parent.parent / "schemas"
_MODELS: Final[tuple[tuple[str, type[PlanModel]], ...]] = (("release", Release), ("environment", Environment))
_PARAM: Final = re.compile(r"^:param (\w+): (.+?)(?=^:|\Z)", re.MULTILINE | re.DOTALL)


def schemas() -> dict[Path, str]:
    """File → the schema it has to hold."""
    return {FOLDER / f"{name}.schema.json": _text(name, model) for name, model in _MODELS}


def _text(name: str, model: type[PlanModel]) -> str:
    content: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    content |= model.model_json_schema(by_alias=True)
    known = {one.__name__: one for one in _below(PlanModel) if one.__module__.startswith("include.plan.")}
    for title, schema in {model.__name__: content, **content["$defs"]}.items():
        if title in known:
            _explain(schema, known[title])
    content["title"] = f"Stellwerk: {name}"
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _below(model: type[PlanModel]) -> Iterator[type[PlanModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


def _explain(schema: dict[str, Any], model: type[PlanModel]) -> None:
    """Give each key the sentence that the model's docstring has for it."""
    schema["description"] = _plain(inspect.getdoc(model) or "").partition(" :param")[0]
    for ancestor in reversed(model.__mro__):
        for name, text in _PARAM.findall(inspect.getdoc(ancestor) or ""):
            field = model.model_fields.get(name)
            key = (field.alias or name) if field else name
            if key in schema.get("properties", {}):
                schema["properties"][key]["description"] = _plain(text)


def _plain(text: str) -> str:
    text = re.sub(r":\w+:`(?:\w+\.)*([^`]+)`", r"\1", text)
    return " ".join(text.replace("``", "`").split())
