"""Pods that answer requests and count them, as snapshots see them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from include.plan.rules import SourceName
from include.slo.account import Account
from include.slo.evaluate import evaluate
from include.slo.samples import LogSample, Observed, PodSample, ProbeSample, SlotSample, Snapshot
from include.slo.verdict import Verdict

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, math.inf)


@dataclass
class Pod:
    name: str = "pod-1"
    started_at: float = -1000.0
    requests: dict[str, float] = field(default_factory=lambda: {"200": 0.0})
    buckets: list[float] = field(default_factory=lambda: [0.0] * len(BOUNDS))
    memory_bytes: float = 1e8
    cpu_seconds: float = 0.0
    sse: float = 0.0
    db: float = 5.0

    def answer(self, status: int = 200, count: float = 1, seconds: float = 0.02) -> None:
        self.requests[str(status)] = self.requests.get(str(status), 0.0) + count
        for index, bound in enumerate(BOUNDS):
            if seconds <= bound:
                self.buckets[index] += count

    def restart(self, at: float) -> None:
        self.started_at, self.cpu_seconds = at, 0.0
        self.requests, self.buckets = {}, [0.0] * len(BOUNDS)

    def sample(self, now: float) -> PodSample:
        return PodSample(
            pod_uid=f"uid-{self.name}",
            pod=self.name,
            taken_at=now,
            started_at=self.started_at,
            requests=dict(self.requests),
            latency_buckets=tuple(zip(BOUNDS, self.buckets, strict=True)),
            sse_connections=self.sse,
            memory_bytes=self.memory_bytes,
            cpu_seconds=self.cpu_seconds,
            db_connections=self.db,
        )


def snapshot(now: float, pods: Iterable[Pod], **more: Any) -> Snapshot:
    return Snapshot(now, "green", tuple(pod.sample(now) for pod in pods), **more)


def observed(snapshots: Sequence[Snapshot], *, source: SourceName = "openmetrics", **more: Any) -> Observed:
    """What a watch knows that saw nothing wrong beside the metrics; ``more`` replaces what it saw."""
    times = [s.taken_at for s in snapshots]
    fine = Observed(
        metrics={source: tuple(snapshots)},
        probes=tuple(ProbeSample(at, "ok") for at in times),
        slot=tuple(SlotSample(at, ready_endpoints=3, wanted=3, ready=3) for at in times),
        logs=LogSample(times[-1]) if times else None,
    )
    # A watch of less than three pods sees what they say, not that there ought to be more.
    seen = max((len(s.pods) for s in snapshots), default=0) or 3
    fine = replace(fine, slot=tuple(replace(s, wanted=seen, ready=seen) for s in fine.slot))
    return replace(fine, **more)


def accounted(
    snapshots: Sequence[Snapshot], rules: Any, watch: Any, *, cutover_at: float = 0.0, **more: Any
) -> tuple[Account, Verdict]:
    """The account of a watch that polled at each of the snapshots, and its last verdict."""
    account = Account.begin({rules.source: snapshots[0]}, at=cutover_at, source=rules.source)
    verdict = evaluate(rules, watch, observed(snapshots[:1], **more), snapshots[0].taken_at, cutover_at=cutover_at)
    for n, taken in enumerate(snapshots[1:], 1):
        seen = observed(snapshots[: n + 1], source=rules.source, **more)
        verdict = evaluate(rules, watch, seen, taken.taken_at, cutover_at=cutover_at)
        account = account.add(seen, verdict, taken.taken_at)
    return account, verdict


def traffic(
    polls: int, *, per_second: int, error_rate: Callable[[int], float] | float, seed: int = 0, pods: int = 3
) -> list[Snapshot]:
    """One snapshot a second of pods that answer ``per_second`` requests together."""
    chance = random.Random(seed)
    running = [Pod(f"pod-{n}") for n in range(pods)]
    snapshots = [snapshot(0.0, running)]
    for now in range(1, polls + 1):
        rate = error_rate(now) if callable(error_rate) else error_rate
        for n in range(per_second):
            running[n % pods].answer(500 if chance.random() < rate else 200)
        snapshots.append(snapshot(float(now), running))
    return snapshots
