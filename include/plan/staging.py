"""How a release is tried in staging: which addresses answer, how much load it stands, what key users test.

Times are in seconds, ratios between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from include.plan.prober import Text, UrlPath
from include.plan.rules import Misplaced, PlanModel, Ratio, Seconds
from include.plan.texts import Url

Severity = Literal["blocker", "major", "minor"]
SEVERITIES: Final[tuple[Severity, ...]] = ("blocker", "major", "minor")
"""Of what key users find, the worst first."""


class UrlCheck(PlanModel):
    """One address of the application, and what shows that the right thing answers there.

    :param path: what is asked for
    :param status: the HTTP status that the last answer has to have
    :param redirects: which are followed before; ``same-host`` those that stay on this host and port, ``any`` all
    :param contains: text that has to be in the body
    :param timeout_seconds: for everything together, redirects included
    """

    url: Url
    path: UrlPath = "/"
    status: Annotated[int, Field(ge=100, le=599)] = 200
    redirects: Literal["none", "same-host", "any"] = "none"
    contains: Text | None = None
    timeout_seconds: Seconds = 5.0


class LoadRequest(PlanModel):
    """One request of a simulated user.

    :param name: under which its figures are shown; the method and the path when it is left out
    :param weight: how often it is made, compared with the user's other requests
    :param body: sent as JSON
    :param status: the HTTP status that counts as success
    """

    path: UrlPath
    name: str = ""
    method: Literal["GET", "POST", "PUT", "DELETE"] = "GET"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    body: Mapping[str, Any] | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200

    @property
    def title(self) -> str:
        """What it is called in figures."""
        return self.name or f"{self.method} {self.path}"


class LoadUser(PlanModel):
    """One kind of user.

    :param weight: how many there are of this kind, compared with the others
    :param pause_seconds: how long one waits between two requests
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    pause_seconds: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 1.0
    requests: Annotated[tuple[LoadRequest, ...], Field(min_length=1)]


class LoadThresholds(PlanModel):
    """What the load test has to show.

    :param p95_seconds: 95 % of the requests were answered within, of all together and of each kind of request
    :param error_rate: share of failed requests, at most; of all together and of each kind of request
    :param requests_per_second: answered on average, at least
    :param silence_seconds: so long at most nobody got a right answer, while there were users
    :param min_requests: with fewer nothing is known
    """

    p95_seconds: Seconds = 0.5
    error_rate: Ratio = 0.01
    requests_per_second: Seconds = 10.0
    silence_seconds: Seconds = 10.0
    min_requests: Annotated[int, Field(ge=1)] = 500


class LoadTest(PlanModel):
    """Simulated users on the environment's public URL, and nowhere else.

    :param users: how many there are at the same time
    :param spawn_rate: so many of them begin in a second
    :param seconds: how long all of it takes
    :param kinds: of users
    """

    users: Annotated[int, Field(ge=1, le=5000)] = 20
    spawn_rate: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 5.0
    seconds: Annotated[int, Field(ge=1, le=4 * 3600)] = 120
    kinds: Annotated[tuple[LoadUser, ...], Field(min_length=1)]
    thresholds: LoadThresholds = LoadThresholds()

    @property
    def titles(self) -> tuple[str, ...]:
        """Every request of the plan as figures call it, each once."""
        return tuple(dict.fromkeys(one.title for kind in self.kinds for one in kind.requests))

    @field_validator("kinds")
    @classmethod
    def _told_apart(cls, value: tuple[LoadUser, ...]) -> tuple[LoadUser, ...]:
        names = [kind.name for kind in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"kinds share a name: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _all_begin_in_time(self) -> Self:
        if self.users / self.spawn_rate >= self.seconds:
            raise Misplaced(
                ("seconds",),
                f"{self.users} users at {self.spawn_rate:g} per second are not all there within {self.seconds} s",
            )
        return self


class UatCase(PlanModel):
    """One workflow that key users try.

    :param id: in the form and in the ledger
    :param title: in one line
    :param expected: what they should see
    :param users: who alone can try it; empty: any key user
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    title: Text
    expected: str = ""
    users: tuple[Text, ...] = ()


class Acceptance(PlanModel):
    """What key users test, and what follows from it.

    :param role: whose users are asked, each with a form of their own
    :param timeout_seconds: how long an answer is waited for
    :param required: whose test is needed: of all of them, of one at least, or of nobody
    :param blocking: findings of these severities stop the release
    """

    role: Text = "key-user"
    cases: Annotated[tuple[UatCase, ...], Field(min_length=1, max_length=20)]
    timeout_seconds: Seconds = 2 * 24 * 3600.0
    required: Literal["all", "one", "none"] = "all"
    blocking: Annotated[tuple[Severity, ...], Field(min_length=1)] = ("blocker",)

    def cases_of(self, user: str) -> tuple[UatCase, ...]:
        """What a user is asked to try."""
        return tuple(case for case in self.cases if not case.users or user in case.users)

    @field_validator("cases")
    @classmethod
    def _distinct(cls, value: tuple[UatCase, ...]) -> tuple[UatCase, ...]:
        ids = [case.id for case in value]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"cases share an id: {', '.join(twice)}")
        return value


AutomaticPhase = Literal["staging-deploy"]
"""The phase whose authority may be the plan's own instead of people's; in staging only."""
