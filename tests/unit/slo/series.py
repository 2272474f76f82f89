"""Pods that answer requests and count them, as snapshots see them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from include.slo.samples import PodSample, Snapshot

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
        )


def snapshot(now: float, pods: Iterable[Pod], *, ready: int | None = None, **more: object) -> Snapshot:
    samples = tuple(pod.sample(now) for pod in pods)
    return Snapshot(now, "green", samples, len(samples) if ready is None else ready, **more)  # type: ignore[arg-type]


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
