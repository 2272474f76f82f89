"""The service levels a release is judged by: rollback triggers, success criteria, the watch over them.

Ratios are between 0 and 1, times in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Ratio = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PlanModel(BaseModel):
    """Frozen, and a misspelt key is an error instead of a setting that silently does nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Triggers(PlanModel):
    """Crossing one of these means switching back at once.

    :param error_rate: share of requests answered with 5xx
    :param p95_seconds: time within which 95 % of the requests were answered
    :param down_seconds: how long the active slot may be without a ready endpoint
    """

    error_rate: Ratio = 0.05
    p95_seconds: Seconds = 2.0
    down_seconds: Seconds = 300.0


class Criteria(PlanModel):
    """Missing one of these means that the release has not succeeded (yet); None means "not judged".

    :param error_rate: share of requests answered with 5xx has to be below
    :param p95_seconds: time within which 95 % of the requests were answered has to be below
    :param memory_bytes: resident memory of every single pod has to be below
    :param cpu_cores: processor use of every single pod has to be below
    :param sse_connections: open event streams, both slots together, have to be at least
    """

    error_rate: Ratio = 0.01
    p95_seconds: Seconds = 0.5
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    cpu_cores: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    sse_connections: Annotated[int, Field(ge=0)] | None = None


class SloRules(PlanModel):
    """Triggers and criteria together; a trigger below its criterion would make no sense."""

    triggers: Triggers = Triggers()
    criteria: Criteria = Criteria()

    @model_validator(mode="after")
    def _triggers_above_criteria(self) -> Self:
        for name in ("error_rate", "p95_seconds"):
            trigger, criterion = getattr(self.triggers, name), getattr(self.criteria, name)
            if trigger < criterion:
                raise ValueError(
                    f"triggers.{name} is {trigger:g} and criteria.{name} is {criterion:g}: a release would be "
                    "rolled back while it still counts as healthy; set the trigger at or above the criterion"
                )
        return self


class Watch(PlanModel):
    """How long and how closely a release is watched after its cutover.

    :param seconds: length of the watch
    :param poll_seconds: time between two polls
    :param window_seconds: the short sliding window that finds a fault fast
    :param lookback_seconds: the long window that gathers evidence where traffic is thin
    :param min_requests: fewer requests than this never prove health
    :param min_errors: fewer failed (or slow) requests than this never cause a rollback
    :param stale_seconds: a sample older than this says nothing about now
    :param unknown_limit_ratio: larger a share of unknown polls and the watch cannot pass by itself
    :param sse_grace_seconds: for so long after cutover event streams may reconnect without being judged
    """

    seconds: Seconds = 3600.0
    poll_seconds: Seconds = 1.0
    window_seconds: Seconds = 10.0
    lookback_seconds: Seconds = 300.0
    min_requests: Annotated[int, Field(ge=1)] = 200
    min_errors: Annotated[int, Field(ge=1)] = 10
    stale_seconds: Seconds = 5.0
    unknown_limit_ratio: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.05
    sse_grace_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 120.0

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        smaller_than = (
            ("poll_seconds", "window_seconds", "a window has to span at least one poll"),
            ("window_seconds", "lookback_seconds", "the lookback is the longer of the two windows"),
            ("window_seconds", "seconds", "a watch has to last at least one window"),
            ("poll_seconds", "stale_seconds", "every sample would be stale before the next one comes"),
        )
        for small, large, why in smaller_than:
            if getattr(self, small) > getattr(self, large):
                raise ValueError(
                    f"{small} ({getattr(self, small):g}) exceeds {large} ({getattr(self, large):g}): {why}"
                )
        return self


class Prober(PlanModel):
    """The independent prober that asks the public URL before, during and after every switch.

    :param requests_per_second: sent at this rate whatever became of the ones before
    :param timeout_seconds: a request without its whole answer by then is lost
    """

    requests_per_second: Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)] = 25.0
    timeout_seconds: Seconds = 5.0
