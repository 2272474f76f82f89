"""A plan as it was when it was last read whole: what goes back goes on with it where a file is broken by now."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from include.plan.loader import Plan
from include.plan.models import Environment, Release

_LEDGER: Final = re.compile(r"^\s+ledger:\s*[\"']?([\w.-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Kept:
    """A release and the environment it goes to, as they were valid.

    The Helm values are not among it: they may hold secrets, and nothing is deployed by it.
    """

    release: Release
    environment: Environment

    def dump(self) -> dict[str, Any]:
        """As JSON, for the ledger."""
        bare: dict[str, Any] = {"values": {}, "slots": {}}
        environment = self.environment.adopting(None).model_copy(update=bare)
        # In the files' own names; through text, where infinity is one.
        release, place = (json.loads(one.model_dump_json(by_alias=True)) for one in (self.release, environment))
        return {"release": release, "environment": place}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Self | None:
        """What :meth:`dump` gave; None where this version of Stellwerk cannot read it."""
        try:
            return cls(
                Release.model_validate_json(json.dumps(value.get("release")), strict=True),
                Environment.model_validate_json(json.dumps(value.get("environment")), strict=True),
            )
        except ValidationError:
            return None


def ledgers_of(plan: Plan, environment: str) -> tuple[str, ...]:
    """The connections behind which an environment's ledger may be, likeliest first, though its file is broken."""
    if environment in plan.environments:
        return (plan.environments[environment].connections.ledger,)
    try:
        text = (plan.folder / "environments" / f"{environment}.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    others = (one.connections.ledger for one in plan.environments.values())
    return tuple(dict.fromkeys([*_LEDGER.findall(text), *others]))
