"""The JSON Schema of the plan's files, for editors: they complete keys and show what is wrong while one types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from include.plan.models import Environment, PlanModel, Release

FOLDER: Final = Path(__file__).resolve().parent.parent / "schemas"
_MODELS: Final[tuple[tuple[str, type[PlanModel]], ...]] = (("release", Release), ("environment", Environment))


def schemas() -> dict[Path, str]:
    """File → the schema it has to hold."""
    return {FOLDER / f"{name}.schema.json": _text(name, model) for name, model in _MODELS}


def _text(name: str, model: type[PlanModel]) -> str:
    content: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    content |= model.model_json_schema(by_alias=True)
    content["title"] = f"Stellwerk: {name}"
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
