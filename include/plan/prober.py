"""How the application is asked from outside: the checks and the prober that makes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from include.plan.rules import PlanModel, Seconds


def _path(text: str) -> str:
    if not text.startswith("/") or any(c.isspace() for c in text):
        raise ValueError(f"{text!r} is not a path like /healthz")
    return text


UrlPath = Annotated[str, AfterValidator(_path)]
Text = Annotated[str, Field(min_length=1)]


class SmokeCheck(PlanModel):
    """One request whose answer shows that the application works.

    :param status: the HTTP status it has to answer with
    :param contains: text that has to be in the body
    :param sha256: digest of the whole body, for content that must not change: "200 but wrong" is a failure
    """

    name: Text
    path: UrlPath
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    timeout_seconds: Seconds = 5.0


def distinct(checks: tuple[SmokeCheck, ...], what: str) -> tuple[SmokeCheck, ...]:
    """The checks, whose names tell them apart.

    :raises ValueError: two share a name
    """
    names = [check.name for check in checks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what} share a name: {', '.join(twice)}")
    return checks


class Prober(PlanModel):
    """The independent prober that asks the public URL before, during and after every switch, and during the watch.

    :param requests_per_second: while the traffic moves: sent at this rate whatever became of the ones before
    :param timeout_seconds: a request without its whole answer by then is lost
    :param every_seconds: time between two rounds of all checks during the watch
    :param checks: the requests of such a round; none: the smoke checks
    """

    requests_per_second: Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)] = 25.0
    timeout_seconds: Seconds = 5.0
    every_seconds: Seconds = 5.0
    checks: tuple[SmokeCheck, ...] = ()

    @field_validator("checks")
    @classmethod
    def _distinct_names(cls, value: tuple[SmokeCheck, ...]) -> tuple[SmokeCheck, ...]:
        return distinct(value, "prober checks")
