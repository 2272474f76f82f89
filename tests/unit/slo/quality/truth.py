"""What really happened in a trace, request by request, and what a watch could see of it.

Nothing here is judged. The oracle reads these facts; the evaluator reads what :func:`observed_at` shows of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from include.clients.openmetrics import parse
from include.plan.rules import SloRules, SourceName, Watch
from include.slo.samples import (
    LogSample,
    LogSignature,
    Observed,
    PodSample,
    ProbeSample,
    Reading,
    SlotSample,
    Snapshot,
)

BOUNDS = (0.1, 0.5, 1.0, 2.0, 5.0, math.inf)
HEALTH_PATHS = ("/healthz",)


@dataclass
class Process:
    """One process of one pod, and every request it answered: (when, status, seconds)."""

    pod: str
    start: float
    end: float = math.inf
    requests: list[tuple[float, int, float]] = field(default_factory=list)
    restarts_pod: bool = False
    health_rate: float = 0.0

    def alive(self, at: float) -> bool:
        return self.start <= at < self.end

    @cached_property
    def _times(self) -> dict[tuple[int, float], list[float]]:
        times: dict[tuple[int, float], list[float]] = {}
        for at, status, seconds in sorted(self.requests):
            times.setdefault((status, seconds), []).append(at)
        return times

    def counted(self, at: float) -> tuple[dict[str, float], tuple[tuple[float, float], ...]]:
        """Its counters at a moment: by status, and the latency histogram."""
        statuses: dict[str, float] = {}
        buckets = dict.fromkeys(BOUNDS, 0.0)
        for (status, seconds), times in self._times.items():
            if count := bisect_right(times, at):
                statuses[str(status)] = statuses.get(str(status), 0.0) + count
                for bound in BOUNDS:
                    buckets[bound] += count if seconds <= bound else 0
        return statuses, tuple(buckets.items())


@dataclass(frozen=True)
class Look:
    """One look at one source.

    :param sample_at: of what moment it showed the counters
    :param told_at: the time stamp the samples carry, by a clock that may be wrong
    :param out: nothing was answered
    :param unread: pods that did not answer
    :param hidden: pods that are not shown, and nothing says so
    :param broken: what a broken pod reported instead of its counters, by pod
    """

    at: float
    sample_at: float
    told_at: float
    out: bool = False
    unread: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    broken: Mapping[str, float] = field(default_factory=dict)
    readings: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pods:
    """What the API server said: None for what it did not."""

    at: float
    endpoints: int | None
    ready: int | None
    wanted: int | None
    restarts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Trace:
    """One watch from its cutover (0) to its end.

    :param polls: when the watch looked and judged; the looks at 0 are the baseline
    :param gauges: by name (``memory``, ``streams``, ``lingering``, ``cores``) a value for each moment
    :param errors_logged: when an error signature that the old version does not have appeared
    """

    family: str
    seed: int
    rules: SloRules
    watch: Watch
    polls: tuple[float, ...]
    processes: list[Process] = field(default_factory=list)
    looks: dict[SourceName, list[Look]] = field(default_factory=dict)
    probes: list[tuple[float, str]] = field(default_factory=list)
    pods: list[Pods] = field(default_factory=list)
    gauges: dict[str, Mapping[float, float | None]] = field(default_factory=dict)
    errors_logged: float | None = None
    logs_unreadable: bool = False
    by_exposition: bool = False

    @property
    def name(self) -> str:
        return f"{self.family}-{self.seed}"

    def gauge(self, name: str, at: float, default: float | None) -> float | None:
        return self.gauges.get(name, {}).get(at, default)

    def snapshot(self, source: SourceName, look: Look) -> Snapshot:
        """What the look shows."""
        if look.out:
            return Snapshot(look.at, "green", errors=("no answer",))
        seen = [p for p in self.processes if p.alive(look.sample_at) and p.pod not in look.hidden]
        first = min((p.pod for p in seen), default="")
        samples = tuple(self._sample(p, look, first=p.pod == first) for p in seen if p.pod not in look.unread)
        errors = tuple(f"{p.pod}: no answer" for p in seen if p.pod in look.unread)
        readings = tuple(
            Reading(rule, look.told_at, value) for rule, values in look.readings.items() for value in values
        )
        return Snapshot(look.at, "green", samples, errors=errors, readings=readings)

    def _sample(self, process: Process, look: Look, *, first: bool) -> PodSample:
        statuses, buckets = process.counted(look.sample_at)
        if self.by_exposition:
            return parse(
                _exposition(process, statuses, buckets, look.sample_at),
                pod=process.pod,
                pod_uid=process.pod,
                taken_at=look.told_at,
                health_paths=HEALTH_PATHS,
            )
        if process.pod in look.broken:
            statuses = {"200": look.broken[process.pod]}
        streams = self.gauge("streams", look.sample_at, 0.0)
        return PodSample(
            pod_uid=process.pod,
            pod=process.pod,
            taken_at=look.told_at,
            started_at=process.start,
            requests=statuses,
            latency_buckets=buckets,
            sse_connections=streams if first or streams is None else 0.0,
            memory_bytes=self.gauge("memory", look.sample_at, 1e8),
            cpu_seconds=max(0.0, look.sample_at - process.start) * (self.gauge("cores", 0.0, 0.1) or 0.0),
            db_connections=5.0,
        )

    @cached_property
    def snapshots(self) -> dict[SourceName, list[Snapshot]]:
        return {source: [self.snapshot(source, look) for look in looks] for source, looks in self.looks.items()}

    def observed_at(self, now: float) -> Observed:
        """Everything that a watch knows at a moment."""
        return Observed(
            metrics={name: [s for s in found if s.taken_at <= now] for name, found in self.snapshots.items()},
            probes=[ProbeSample(at, state, "") for at, state in self.probes if at <= now],  # type: ignore[arg-type]
            slot=[self._slot(p) for p in self.pods if p.at <= now],
            beside=self._beside(now),
            logs=self._logs(now),
        )

    def _slot(self, pods: Pods) -> SlotSample:
        problem = "no answer" if pods.ready is None and pods.endpoints is None else ""
        return SlotSample(pods.at, pods.endpoints, pods.wanted, pods.ready, pods.restarts, problem=problem)

    def _beside(self, now: float) -> Snapshot | None:
        if (count := self.gauge("lingering", now, None)) is None:
            return None
        return Snapshot(now, "blue", (PodSample("old", "old", now, sse_connections=count),))

    def _logs(self, now: float) -> LogSample:
        if self.logs_unreadable:
            return LogSample(now, problem="no answer")
        new = self.errors_logged is not None and self.errors_logged <= now
        warning = LogSignature("slow query", "warning", 2)
        return LogSample(now, (warning, LogSignature("KeyError: <id>", "error", 1)) if new else (warning,))


def _exposition(
    process: Process, statuses: Mapping[str, float], buckets: tuple[tuple[float, float], ...], at: float
) -> str:
    """The pod's metrics page, with its health checks in it."""
    checks = int(process.health_rate * (at - process.start))
    lines = ["# TYPE http_requests_total counter"]
    lines += [f'http_requests_total{{path="/api",status="{s}"}} {count:g}' for s, count in statuses.items()]
    lines += [f'http_requests_total{{path="/healthz",status="200"}} {checks}']
    lines += ["# TYPE http_request_duration_seconds histogram"]
    for path, counts in (("/api", buckets), ("/healthz", tuple((b, float(checks)) for b in BOUNDS))):
        lines += [
            f'http_request_duration_seconds_bucket{{path="{path}",le="{"+Inf" if math.isinf(b) else b}"}} {n:g}'
            for b, n in counts
        ]
    lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {process.start:g}"]
    return "\n".join(lines) + "\n"
