"""How soon people have to know of a rollback, and when they meet about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.plan.rules import PlanModel, Seconds


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
