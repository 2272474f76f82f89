"""What was measured: counters of single pods, and the snapshot of a slot they belong to.

Counters are cumulative since the pod's process started, as Prometheus exposes them; turning two of them into a
rate is the business of :mod:`include.slo.window`. A value a pod did not report is ``None`` (or NaN, as read).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from include.plan.models import Slot
from include.plan.rules import SourceName


@dataclass(frozen=True)
class PodSample:
    """The metrics of one pod at one moment.

    :param pod_uid: identity of the pod; a pod that is replaced under the same name is another pod
    :param taken_at: when it was read, in seconds since the epoch
    :param started_at: start of the pod's process, in seconds since the epoch: counters begin at zero there
    :param requests: answered requests by HTTP status (``"200"``, ``"503"``), health endpoints already left out
    :param latency_buckets: ``(upper bound in seconds, cumulative count)``, ascending, the last one infinite
    :param cpu_seconds: processor time used since the process started
    """

    pod_uid: str
    pod: str
    taken_at: float
    started_at: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)
    latency_buckets: tuple[tuple[float, float], ...] = ()
    sse_connections: float | None = None
    memory_bytes: float | None = None
    cpu_seconds: float | None = None
    db_connections: float | None = None

    @cached_property
    def countable(self) -> bool:
        """Whether every counter is a number that a counter can be; asked at every look, computed once."""
        numbers = (*self.requests.values(), *(count for _, count in self.latency_buckets))
        return all(math.isfinite(number) and number >= 0 for number in numbers)


@dataclass(frozen=True)
class Reading:
    """What the query of one rule answered.

    :param rule: the rule's name in the plan, for example ``triggers.error_rate``
    :param value: None when there is none that can be used; ``problem`` then says why, in one sentence
    :param taken_at: of the sample that was read, in seconds since the epoch
    """

    rule: str
    taken_at: float
    value: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Everything one poll saw of one slot.

    :param taken_at: when the poll was made, in seconds since the epoch
    :param pods: the pods that could be read
    :param ready_endpoints: ready endpoints of the slot that serve the needed port, None when nobody could be
        asked; it informs, :class:`SlotSample` is what is judged
    :param errors: one sentence for each thing that could not be read; empty when the snapshot is whole
    :param unread: ready pods that did not show their metrics: what they served is not known
    :param readings: the answers to the rules' own queries
    """

    taken_at: float
    slot: Slot
    pods: tuple[PodSample, ...] = ()
    ready_endpoints: int | None = None
    errors: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class ProbeSample:
    """What one round of the independent prober saw of the public URL.

    :param at: when the round ended, in seconds since the epoch
    :param state: ``failed``: at least one check did not get the answer it expects; ``unusable``: what lies between
        the prober and the application is broken (an expired certificate, a name that does not resolve), which says
        nothing about the version
    :param problem: what was wrong, one sentence; empty when nothing was
    """

    at: float
    state: Literal["ok", "failed", "unusable"]
    problem: str = ""


@dataclass(frozen=True)
class SlotSample:
    """What the API server said about the watched slot's pods and about who can be reached.

    :param at: seconds since the epoch
    :param ready_endpoints: usable endpoints of the traffic Service; None when nobody could be asked
    :param wanted: pods the slot ought to have; None when not known
    :param ready: its ready pods
    :param restarts: container restarts by pod uid
    :param not_ready: one sentence for each pod that is not ready, with the reason Kubernetes gives
    :param cpu_cores: processor cores that each pod may use, by the pod's name: its limit, else its request; a pod
        with neither is left out and judged by one core
    :param problem: why nothing was learned; empty when something was
    """

    at: float
    ready_endpoints: int | None = None
    wanted: int | None = None
    ready: int | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)
    not_ready: tuple[str, ...] = ()
    cpu_cores: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class LogSignature:
    """A kind of log line: its text with numbers, ids and times replaced, and how often it was seen."""

    text: str
    level: Literal["error", "warning"]
    count: int


@dataclass(frozen=True)
class LogSample:
    """The watched slot's log signatures that the slot which was left does not have.

    :param at: seconds since the epoch
    :param problem: why the logs could not be compared; empty when they could
    """

    at: float
    new: tuple[LogSignature, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Observed:
    """All that is known of the watched slot at one moment; sequences are in any order.

    :param metrics: by source; only the sources that some rule reads
    :param beside: the newest snapshot of the slot that was left: its event streams count, too
    :param logs: the newest comparison; None before the first
    """

    metrics: Mapping[SourceName, Sequence[Snapshot]] = field(default_factory=dict)
    probes: Sequence[ProbeSample] = ()
    slot: Sequence[SlotSample] = ()
    beside: Snapshot | None = None
    logs: LogSample | None = None
