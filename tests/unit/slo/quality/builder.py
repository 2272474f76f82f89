"""A trace that is fine in every respect, for a family to change what it is about."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from include.plan.rules import SloRules, SourceName, Triggers, Watch
from tests.unit.slo.quality.truth import Look, Pods, Process, Trace

SECONDS, POLL = 120, 2
WATCH = Watch(
    seconds=SECONDS,
    poll_seconds=POLL,
    window_seconds=20,
    lookback_seconds=60,
    min_requests=200,
    min_errors=10,
    stale_seconds=6,
    sse_grace_seconds=20,
    page_after_seconds=20,
)
POLLS = tuple(float(at) for at in range(0, SECONDS + 1, POLL))
Rate = Callable[[float], float]
DOWN = Triggers(down_seconds=30)
RULES = SloRules(triggers=DOWN)


class Builder:
    """Makes a trace that is fine in every respect; a family then changes what it is about."""

    def __init__(self, family: str, seed: int, chance: random.Random) -> None:
        self.chance = chance
        self.trace = Trace(family, seed, RULES, WATCH, POLLS)
        self.served: list[Process] = [Process(f"pod-{n}", -300.0 - n) for n in range(3)]

    def rules(self, **groups: Any) -> Builder:
        """Other rules than the plan's; an outage may last for half a minute all the same."""
        self.trace.rules = SloRules(**{"triggers": DOWN, **groups})
        return self

    def traffic(
        self, per_second: float, *, errors: Rate | float = 0.0, slow: Rate | float = 0.0, seconds: float = 3.0
    ) -> Builder:
        """Requests at random times, spread over the processes that are there; ``slow`` ones take ``seconds``."""
        for second in range(SECONDS):
            count = int(per_second) + (self.chance.random() < per_second % 1)
            alive = [p for p in self.served if p.alive(second) and p.alive(second + 1)]
            for _ in range(count if alive else 0):
                at = second + self.chance.uniform(0.05, 0.95)
                status = 500 if self.chance.random() < value_at(errors, at) else 200
                took = seconds if self.chance.random() < value_at(slow, at) else 0.05
                self.chance.choice(alive).requests.append((at, status, took))
        return self

    def ending(self, process: Process, at: float, *, restart: bool) -> Process:
        """The process ends and another one takes its place: in the same pod, or as another pod."""
        process.end = at
        name = process.pod if restart else f"{process.pod}-{int(at)}"
        successor = Process(name, at, restarts_pod=restart)
        self.served.append(successor)
        return successor

    def looks(
        self, change: Callable[[Look], Look] = lambda look: look, *, source: SourceName = "openmetrics"
    ) -> Builder:
        self.trace.looks[source] = [change(Look(at, at, at)) for at in self.trace.polls]
        return self

    def probes(self, state: Callable[[float], str | None] = lambda _: "ok") -> Builder:
        self.trace.probes = [(at, seen) for at in self.trace.polls if (seen := state(at)) is not None]
        return self

    def pods(self, change: Callable[[Pods], Pods] = lambda pods: pods) -> Builder:
        self.trace.pods = []
        for at in self.trace.polls:
            ready = sum(process.alive(at) for process in self.served)
            self.trace.pods.append(change(Pods(at, ready, ready, ready)))
        return self

    def done(self) -> Trace:
        self.trace.processes = self.served
        if not self.trace.looks:
            self.looks()
        if not self.trace.probes:
            self.probes()
        if not self.trace.pods:
            self.pods()
        return self.trace


def value_at(rate: Rate | float, at: float) -> float:
    return rate if isinstance(rate, int | float) else rate(at)


def between(start: float, end: float, inside: float, outside: float = 0.0) -> Rate:
    return lambda at: inside if start <= at < end else outside
