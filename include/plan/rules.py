"""The service levels a release is judged by: rollback triggers, success criteria, the watch over them.

Ratios are between 0 and 1, times in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from include.plan.queries import check_query

Ratio = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class PlanModel(BaseModel):
    """Frozen, and a misspelt key is an error instead of a setting that silently does nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Misplaced(ValueError):
    """Two values do not fit together.

    :param place: of the one to look at, below the model that is being read
    """

    def __init__(self, place: tuple[str | int, ...], why: str) -> None:
        super().__init__(why)
        self.place = place


SourceName = Literal["openmetrics", "prometheus"]
"""Where a rule's numbers come from: the pods themselves, or a Prometheus that scrapes them."""


def _short(value: object) -> object:
    """``error_rate: 0.05`` is short for ``error_rate: {limit: 0.05}``."""
    return {"limit": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Rule(PlanModel):
    """One number that is held against a limit.

    :param limit: in the unit of what is measured
    :param for_seconds: how long the limit has to be crossed without a break before the rule counts as broken
    :param min_requests: fewer requests than this and nothing is judged. None: what the watch says for the criteria
        of error rate and latency; none are needed elsewhere (a trigger weighs what it counted by its interval)
    :param source: where it reads; None takes what the environment says
    :param query: PromQL of the plan's own instead of the standard metrics; ``$slot``, ``$namespace``, ``$window``
        and ``$selector`` (all label matchers of the slot) are filled in. Every element of the answer is held
        against the limit, and the worst one counts
    """

    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    for_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    min_requests: Annotated[int, Field(ge=1)] | None = None
    source: SourceName | None = None
    query: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(check_query)] | None = None

    @model_validator(mode="after")
    def _a_query_has_a_place(self) -> Self:
        if self.query is not None and self.source == "openmetrics":
            raise ValueError("openmetrics answers no query: set source to prometheus, or leave the query out")
        return self


def _share(rule: Rule) -> Rule:
    """A limit of 5 where 5 % was meant would never be crossed."""
    if rule.query is None and not 0 < rule.limit < 1:
        raise ValueError(f"limit is {rule.limit:g}: a share is greater than 0 and less than 1, 5 % is 0.05")
    return rule


ShortRule = Annotated[Rule, BeforeValidator(_short, json_schema_input_type=Rule | float)]
ShareRule = Annotated[ShortRule, AfterValidator(_share)]


class NamedRule(Rule):
    """A rule of the plan's own, by query.

    :param name: how findings call it
    :param crossed: on which side of the limit it is broken
    :param unit: of value and limit, for sentences
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
    crossed: Literal["above", "below"] = "above"
    unit: Annotated[str, Field(max_length=20)] = ""

    @model_validator(mode="after")
    def _has_a_query(self) -> Self:
        if self.query is None:
            raise ValueError("a rule of the plan's own needs a query")
        return self


class Triggers(PlanModel):
    """Crossing one of these means switching back at once.

    A critical bug (data loss, security) that a human reports is a trigger, too; it needs no entry.

    :param error_rate: share of requests answered with 5xx
    :param p95_seconds: time within which 95 % of the requests were answered
    :param down_seconds: how long the active slot may be without a ready endpoint, or the public URL fail
    :param crash_restarts: container restarts for each wanted pod within the long window, while the public URL has
        failed in it: a crash loop. Between two crashes it is never down for long, and what is lost in a crash no
        pod has counted. None: not judged
    :param more: further rules of the plan's own
    """

    error_rate: ShareRule = Rule(limit=0.05)
    p95_seconds: ShortRule = Rule(limit=2.0)
    down_seconds: Seconds = 300.0
    crash_restarts: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 2.0
    more: tuple[NamedRule, ...] = ()


class Criteria(PlanModel):
    """Missing one of these means that the release has not succeeded (yet); None means "not judged".

    :param error_rate: share of requests answered with 5xx has to be below
    :param p95_seconds: time within which 95 % of the requests were answered has to be below
    :param memory_bytes: resident memory of every single pod has to be below
    :param memory_growth_ratio: growth of a pod's memory over the window, as a share of the memory limit above,
        that its trend must not exceed
    :param cpu_ratio: processor use of every single pod, as a share of what it may use, has to be below
    :param sse_connections: open event streams, both slots together, have to be at least
    :param sse_reconnect_ratio: share of the event streams that may be lost and come back within one short window,
        once draining is over: more is a wave of reconnects
    :param pods: all pods of the slot have to be ready, without restarts
    :param logs: no error signature in the logs that the slot which was left does not have
    :param more: further rules of the plan's own
    """

    error_rate: ShareRule = Rule(limit=0.01)
    p95_seconds: ShortRule = Rule(limit=0.5)
    memory_bytes: ShortRule | None = None
    memory_growth_ratio: ShareRule | None = None
    cpu_ratio: ShareRule | None = None
    sse_connections: ShortRule | None = None
    sse_reconnect_ratio: ShareRule | None = None
    pods: bool = True
    logs: bool = True
    more: tuple[NamedRule, ...] = ()

    @model_validator(mode="after")
    def _growth_has_a_measure(self) -> Self:
        if self.memory_growth_ratio is not None and self.memory_bytes is None:
            raise ValueError("memory_growth_ratio is a share of memory_bytes: set that limit, too")
        return self


class Metrics(PlanModel):
    """What the application calls its metrics, and which labels name a slot's series in Prometheus.

    :param labels: label matchers besides those that the slot's selector gives, for example ``{job: erp}``
    :param namespace_label: the label that holds the pod's namespace
    :param pod_label: the label that holds the pod's name
    :param scrape_seconds: how often Prometheus scrapes the pods: its newest sample may be so much older, and its
        short window spans at least two scrapes
    """

    requests: MetricName = "http_requests_total"
    latency: MetricName = "http_request_duration_seconds"
    sse_connections: MetricName = "sse_connections_active"
    memory_bytes: MetricName = "process_resident_memory_bytes"
    cpu_seconds: MetricName = "process_cpu_seconds_total"
    db_connections: MetricName = "db_connections_open"
    started_at: MetricName = "process_start_time_seconds"
    path_label: LabelName = "path"
    status_label: LabelName = "status"
    labels: Mapping[LabelName, str] = Field(default_factory=dict)
    namespace_label: LabelName = "namespace"
    pod_label: LabelName = "pod"
    scrape_seconds: Seconds = 15.0


class SloRules(PlanModel):
    """Triggers and criteria together; a trigger below its criterion would make no sense.

    :param source: where rules read that name no source of their own
    """

    source: SourceName = "openmetrics"
    metrics: Metrics = Metrics()
    triggers: Triggers = Triggers()
    criteria: Criteria = Criteria()

    @model_validator(mode="after")
    def _triggers_above_criteria(self) -> Self:
        for name in ("error_rate", "p95_seconds"):
            trigger, criterion = getattr(self.triggers, name).limit, getattr(self.criteria, name).limit
            if trigger < criterion:
                raise ValueError(
                    f"triggers.{name} is {trigger:g} and criteria.{name} is {criterion:g}: a release would be "
                    "rolled back while it still counts as healthy; set the trigger at or above the criterion"
                )
        return self

    def named(self) -> Iterator[tuple[str, Rule]]:
        """Every numeric rule with its name in the plan, ``triggers.error_rate`` or ``criteria.more.queue-age``."""
        for group in ("triggers", "criteria"):
            rules = getattr(self, group)
            for field in type(rules).model_fields:
                value = getattr(rules, field)
                if isinstance(value, Rule):
                    yield f"{group}.{field}", value
                elif field == "more":
                    yield from ((f"{group}.more.{rule.name}", rule) for rule in value)

    def source_of(self, rule: Rule) -> SourceName:
        """Where a rule reads: what it says itself, prometheus for a query, else what the environment says."""
        return rule.source or ("prometheus" if rule.query is not None else self.source)

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [name for name, _ in self.named()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rules share a name: {', '.join(twice)}")
        return self

    @property
    def sources(self) -> frozenset[SourceName]:
        """Every source that some rule reads."""
        return frozenset({self.source, *(self.source_of(rule) for _, rule in self.named())})


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
    :param page_after_seconds: data missing for so long, or a criterion missed for so long, calls a human
    :param hold_seconds: how long a watch that ended without proof of health goes on watching until a human decides
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
    page_after_seconds: Seconds = 60.0
    hold_seconds: Seconds = 4 * 3600.0

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
