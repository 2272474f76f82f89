"""How soon people have to know of a rollback, and when they meet about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from include.errors import InvalidPlan
from include.plan.rules import PlanModel, Seconds
from include.plan.source import Source


class MessageDeadlines(PlanModel):
    """How soon people have to know of a rollback, counted from the switch."""

    alert_seconds: Seconds = 60.0
    mail_seconds: Seconds = 900.0
    post_mortem_seconds: Seconds = 3600.0


class PostMortem(PlanModel):
    """The appointment that a rollback leads to; never on a weekend.

    :param after_days: days after the rollback
    :param time: of that day in the release's time zone, ``HH:MM``
    :param place: a room or a link
    """

    after_days: Annotated[int, Field(ge=1, le=60)] = 7
    time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "10:00"
    minutes: Annotated[int, Field(ge=15, le=480)] = 60
    place: str = ""


def message_deadlines(folder: Path) -> Iterator[MessageDeadlines]:
    """Those of each environment below ``folder``, whatever else its file says; broken ones are left out.

    The form of a DAG needs no more of an environment, and loading all of it takes longer than everything else.
    """
    for file in sorted((folder / "environments").glob("*.yaml")):
        try:
            messages = Source(file).content.get("messages")
            told = messages.get("deadlines", {}) if isinstance(messages, dict) else {}
            yield MessageDeadlines.model_validate(told, strict=True)
        except (InvalidPlan, ValidationError):
            continue
