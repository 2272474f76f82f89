"""What the rules say of a trace, worked out anew from its single requests; it shares no code with the evaluator.

It follows docs/slo.md: windows are cut out of the list of requests, the interval of a share is found by bisection.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tests.unit.slo.quality.truth import Look, Process, Trace

State = Literal["HEALTHY", "UNKNOWN", "DEGRADED", "ROLLBACK"]
ORDER: tuple[State, ...] = ("HEALTHY", "UNKNOWN", "DEGRADED", "ROLLBACK")


@dataclass(frozen=True)
class Judged:
    """The class of one moment; ``states`` by rule, ``early`` when only the first window is to blame."""

    state: State
    early: bool
    states: dict[str, State]


def lowest_share(hits: float, total: float, deviations: float = 1.959963984540054) -> float:
    """The smallest true share that a count does not contradict (score test, two-sided 95 %), by bisection."""
    if total == 0 or hits == 0:
        return 0.0
    seen, low, high = hits / total, 0.0, hits / total
    for _ in range(60):
        middle = (low + high) / 2
        if seen - middle > deviations * math.sqrt(middle * (1 - middle) / total):
            low = middle
        else:
            high = middle
    return high


class Oracle:
    def __init__(self, trace: Trace) -> None:
        self.trace, self.rules, self.watch = trace, trace.rules, trace.watch
        self.times = {id(p): sorted(p.requests) for p in trace.processes}
        self.windows: dict[tuple[str, float, float], list[tuple[float, int, float]]] = {}
        self.keys = {id(p): [at for at, _, _ in sorted(p.requests)] for p in trace.processes}

    # what could be seen

    def looks(self, source: str, now: float) -> list[Look]:
        return [look for look in self.trace.looks.get(source, []) if look.at <= now]  # type: ignore[call-overload]

    def age(self, source: str) -> float:
        scrape = self.rules.metrics.scrape_seconds
        return self.watch.stale_seconds + (scrape if source == "prometheus" else 0)

    def window(self, source: str) -> float:
        scrape = self.rules.metrics.scrape_seconds
        return max(self.watch.window_seconds, 2 * scrape if source == "prometheus" else 0)

    def shows(self, look: Look, process: Process, source: str) -> bool:
        """Whether the look shows a number for the process that can be believed."""
        return abs(look.at - look.told_at) <= self.age(source) and self.readable(look, process)

    def readable(self, look: Look, process: Process) -> bool:
        """Whether the look shows counters of the process at all, whatever their time stamp."""
        lacking = {*look.unread, *look.hidden, *look.broken}
        return not look.out and process.alive(look.sample_at) and process.pod not in lacking

    def known(self, source: str, now: float) -> bool:
        """Whether some look shows every process, with a sample that is young enough."""
        limit = self.age(source)
        for look in self.looks(source, now):
            alive = [p for p in self.trace.processes if p.alive(look.sample_at)]
            young = now - look.at <= limit and abs(now - look.told_at) <= limit
            if young and alive and all(self.shows(look, p, source) for p in alive):
                return True
        return False

    def requests(self, source: str, now: float, seconds: float) -> list[tuple[float, int, float]]:
        """All requests of a window that the looks in it, and the one where it begins, can tell of."""
        if (source, now, seconds) not in self.windows:
            self.windows[source, now, seconds] = self.cut(source, now, seconds)
        return self.windows[source, now, seconds]

    def cut(self, source: str, now: float, seconds: float) -> list[tuple[float, int, float]]:
        looks = self.looks(source, now)
        before = [look for look in looks if now - 2 * seconds <= look.at <= now - seconds]
        inside = [look for look in looks if now - seconds < look.at <= now]
        return self.told([*before[-1:], *inside], source)

    def told(self, looks: Sequence[Look], source: str) -> list[tuple[float, int, float]]:
        found: list[tuple[float, int, float]] = []
        for process in self.trace.processes:
            shown = [look for look in looks if self.shows(look, process, source)]
            if not shown:
                continue
            since = shown[0].sample_at
            same_pod = [p for p in self.trace.processes if p.pod == process.pod and p.start < process.start]
            seen_before = any(self.shows(look, p, source) for look in looks for p in same_pod)
            born = process.start >= looks[0].at and shown[0] is not looks[0]
            if born or seen_before:
                since = process.start
            keys = self.keys[id(process)]
            first, last = bisect_right(keys, since), bisect_right(keys, shown[-1].sample_at)
            found += self.times[id(process)][first:last]
        return found

    def newest(self, source: str, now: float) -> list[tuple[float, int, float]]:
        """What each process that the last look shows answered between its newest sample and the one before it."""
        looks = self.looks(source, now)
        seconds = self.window(source)
        reach = [look for look in looks if look.at > now - seconds]
        reach = [look for look in looks if now - 2 * seconds <= look.at <= now - seconds][-1:] + reach
        scrape = self.rules.metrics.scrape_seconds if source == "prometheus" else 0
        longest = min(seconds, max(self.watch.poll_seconds, scrape) + self.watch.stale_seconds)
        found: list[tuple[float, int, float]] = []
        for process in self.trace.processes if reach else ():
            last = reach[-1]
            if not self.shows(last, process, source) or now - last.told_at > self.age(source):
                continue
            same = [p for p in self.trace.processes if p.pod == process.pod]
            earlier = [
                look
                for look in reach[:-1]
                if look.told_at < last.told_at and any(self.shows(look, p, source) for p in same)
            ]
            if earlier:
                since, length = max(earlier[-1].sample_at, process.start), last.told_at - earlier[-1].told_at
            else:
                first = next(look for look in reach if self.shows(look, process, source))
                born = process.start >= reach[0].at and first is not reach[0]
                since, length = process.start, last.told_at - process.start if born else math.inf
            if 0 < length <= longest:
                found += [one for one in self.times[id(process)] if since < one[0] <= last.sample_at]
        return found

    # rules at a moment

    def judge(self, now: float) -> Judged:
        states: dict[str, State] = {}
        named = dict(self.rules.named())
        states["triggers.down_seconds"] = self.down(now)
        states["triggers.crash_restarts"] = self.crash_loop(now)
        for name in ("triggers.error_rate", "triggers.p95_seconds"):
            states[name] = self.trigger(name, now)
        missing = {source for source in self.rules.sources if not self.known(source, now)}
        for source in self.rules.sources:
            states[f"data.{source}"] = "UNKNOWN" if source in missing else "HEALTHY"
        for name, rule in named.items():
            if rule.query is not None:
                states[name] = self.query(name, now)
        if self.rules.source not in missing:
            states.update(self.criteria(now))
        states["criteria.pods"] = self.pods(now)
        states["criteria.logs"] = self.logs(now)
        states["probe"] = self.probe(now)
        worst = max(states.values(), key=ORDER.index)
        excusable = {"criteria.error_rate", "criteria.p95_seconds", "criteria.logs", "criteria.cpu_ratio"}
        early = worst == "UNKNOWN" and now < min(self.window(s) for s in self.rules.sources)
        early = early and all(s != "UNKNOWN" or name in excusable for name, s in states.items())
        return Judged(worst, early, states)

    def crossed(self, name: str, now: float) -> bool | None:
        """Whether a trigger's limit lies below everything that the count does not contradict, in any span."""
        rule = dict(self.rules.named())[name]
        short = self.requests(self.rules.source, now, self.window(self.rules.source))
        long = self.requests(
            self.rules.source, now, max(self.watch.lookback_seconds, self.window(self.rules.source))
        )
        limit = rule.limit if name == "triggers.error_rate" else 0.05
        newest = self.newest(self.rules.source, now)
        for window, deviations in ((short, 1.959963984540054), (long, 1.959963984540054), (newest, 4.0)):
            bad = sum(
                status >= 500 if name == "triggers.error_rate" else took > rule.limit for _, status, took in window
            )
            enough = bad >= self.watch.min_errors and len(window) >= (rule.min_requests or 0)
            if enough and lowest_share(bad, len(window), deviations) > limit:
                return True
        return False if short else None

    def trigger(self, name: str, now: float) -> State:
        rule = dict(self.rules.named())[name]
        if not self.crossed(name, now):
            return "HEALTHY"
        if not rule.for_seconds:
            return "ROLLBACK"
        times = sorted({now, *(look.at for look in self.looks(self.rules.source, now))})
        lasted = self.unbroken([(at, self.crossed(name, at)) for at in times], rule.for_seconds)
        return "ROLLBACK" if lasted >= rule.for_seconds else "DEGRADED"

    def unbroken(self, looks: Iterable[tuple[float, bool | None]], limit: float, least: float = 0.0) -> float:
        """How long the newest known looks have been true; of a gap counts what a tenth of the limit allows."""
        gap = max(self.watch.stale_seconds, limit / 10, least)
        known = [(at, seen) for at, seen in looks if seen is not None]
        start = max((n + 1 for n, (_, seen) in enumerate(known) if not seen), default=0)
        times = [at for at, _ in known[start:]]
        return sum(min(gap, b - a) for a, b in pairwise(times)) if times else -1.0

    def down(self, now: float) -> State:
        limit = self.rules.triggers.down_seconds
        gap = max(self.watch.stale_seconds, limit / 10)
        endpoints = [(p.at, None if p.endpoints is None else p.endpoints == 0) for p in self.trace.pods]
        public = [(at, {"ok": False, "failed": True, "unusable": None}[state]) for at, state in self.trace.probes]
        worst: State = "HEALTHY"
        for looks in (endpoints, public):
            seen = [(at, is_down) for at, is_down in looks if at <= now]
            known = [(at, is_down) for at, is_down in seen if is_down is not None]
            if not known or not known[-1][1]:
                continue
            state: State = "ROLLBACK" if self.unbroken(seen, limit) >= limit else "DEGRADED"
            state = "UNKNOWN" if now - known[-1][0] > gap else state
            worst = max(worst, state, key=ORDER.index)
        return worst

    def crash_loop(self, now: float) -> State:
        """Restarts that came in the long window, pod by pod, beside a failed probe of the same time."""
        limit, begin = self.rules.triggers.crash_restarts, now - self.watch.lookback_seconds
        gap = max(self.watch.stale_seconds, self.rules.triggers.down_seconds / 10)
        told = [p for p in self.trace.pods if p.at <= now and p.ready is not None]
        users_notice = any(state == "failed" for at, state in self.trace.probes if begin <= at <= now)
        if limit is None or not users_notice or not told or now - told[-1].at > gap:
            return "HEALTHY"
        before = next((p for p in reversed(told) if p.at <= begin), told[0])
        came = 0
        for pod in {name for p in told for name in p.restarts}:
            highest = max((p.restarts.get(pod, 0) for p in told if p.at >= before.at), default=0)
            came += max(0, highest - before.restarts.get(pod, 0))
        wanted = told[-1].wanted if told[-1].wanted is not None else told[-1].ready
        return "ROLLBACK" if came / max(1, wanted or 0) >= limit else "HEALTHY"

    def query(self, name: str, now: float) -> State:
        rule = dict(self.rules.named())[name]
        trigger, limit = name.startswith("triggers."), self.age("prometheus")

        def bad(value: float) -> bool:
            return value < rule.limit if getattr(rule, "crossed", "above") == "below" else value > rule.limit

        looks: list[tuple[float, bool | None]] = []
        for look in self.looks("prometheus", now):
            values = () if look.out else look.readings.get(name, ())
            numbers = [v for v in values if v is not None and math.isfinite(v)]
            lacking = len(numbers) < len(values) or not values
            looks.append((look.at, True if any(map(bad, numbers)) else None if lacking else False))
        known = [(at, seen) for at, seen in looks if seen is not None]
        if not known or now - known[-1][0] > limit:
            return "UNKNOWN"
        if not known[-1][1]:
            return "HEALTHY"
        if self.unbroken(looks, rule.for_seconds, least=limit) >= rule.for_seconds:
            return "ROLLBACK" if trigger else "DEGRADED"
        return "DEGRADED" if trigger else "HEALTHY"

    def criteria(self, now: float) -> dict[str, State]:
        rules, source = self.rules.criteria, self.rules.source
        states: dict[str, State] = {}
        short = self.requests(source, now, self.window(source))
        long = self.requests(source, now, max(self.watch.lookback_seconds, self.window(source)))
        for name, rule in (("error_rate", rules.error_rate), ("p95_seconds", rules.p95_seconds)):
            needed = rule.min_requests if rule.min_requests is not None else self.watch.min_requests
            states[f"criteria.{name}"] = self.share(name, short if len(short) >= needed else long, needed)
        for name, limit, value in (
            ("memory_bytes", rules.memory_bytes, self.trace.gauge("memory", now, 1e8)),
            ("cpu_ratio", rules.cpu_ratio, self.trace.gauge("cores", 0.0, 0.1)),
        ):
            if limit is not None:
                states[f"criteria.{name}"] = _kept(value, lambda seen, limit=limit: seen < limit.limit)
        if now >= self.watch.sse_grace_seconds:
            states.update(self.streams(now))
        return states

    def share(self, name: str, window: Sequence[tuple[float, int, float]], needed: int) -> State:
        """Error rate or P95 of a window against its criterion."""
        rules = self.rules.criteria
        if name == "p95_seconds":
            fast = sum(took < rules.p95_seconds.limit for _, _, took in window)
            if len(window) < needed:
                return "UNKNOWN"
            return "HEALTHY" if 100 * fast >= 95 * len(window) else "DEGRADED"
        bad, limit = sum(status >= 500 for _, status, _ in window), rules.error_rate.limit
        if len(window) < needed:
            beyond_doubt = bad >= self.watch.min_errors and lowest_share(bad, len(window)) >= limit
            return "DEGRADED" if beyond_doubt else "UNKNOWN"
        return "HEALTHY" if bad < limit * len(window) else "DEGRADED"

    def streams(self, now: float) -> dict[str, State]:
        rules, trace, states = self.rules.criteria, self.trace, {}
        if rules.sse_connections:
            count = trace.gauge("streams", now, 0.0)
            beside = trace.gauge("lingering", now, None) or 0.0
            wanted = rules.sse_connections.limit
            states["criteria.sse_connections"] = _kept(count, lambda seen: seen + beside >= wanted)
        if rules.sse_reconnect_ratio:
            times = [t for t in trace.polls if self.watch.sse_grace_seconds <= t <= now]
            window = [t for t in times if t >= now - self.window(self.rules.source)]
            counts = [c for t in window if (c := trace.gauge("streams", t, 0.0)) is not None]
            wave = any(
                min(a, c) - b > rules.sse_reconnect_ratio.limit * max(counts[: j + 1])
                for j, b in enumerate(counts)
                for a in counts[:j]
                for c in counts[j + 1 :]
            )
            states["criteria.sse_reconnect_ratio"] = "UNKNOWN" if not counts else "DEGRADED" if wave else "HEALTHY"
        return states

    def pods(self, now: float) -> State:
        limit = max(self.watch.stale_seconds, self.rules.triggers.down_seconds / 10)
        known = [p for p in self.trace.pods if p.at <= now and p.ready is not None]
        if not known or now - known[-1].at > limit:
            return "UNKNOWN"
        last = known[-1]
        restarted = any(
            count > known[0].restarts.get(pod, 0) for seen in known for pod, count in seen.restarts.items()
        )
        short = (last.ready or 0) < max(1, last.wanted or 0)
        return "DEGRADED" if short or restarted else "HEALTHY"

    def logs(self, now: float) -> State:
        if self.trace.errors_logged is not None and self.trace.errors_logged <= now:
            return "DEGRADED"
        return "UNKNOWN" if self.trace.logs_unreadable else "HEALTHY"

    def probe(self, now: float) -> State:
        limit = max(self.watch.stale_seconds, self.rules.triggers.down_seconds / 10)
        known = [(at, state) for at, state in self.trace.probes if at <= now]
        if not known or now - known[-1][0] > limit:
            return "UNKNOWN"
        states: dict[str, State] = {"ok": "HEALTHY", "failed": "DEGRADED", "unusable": "UNKNOWN"}
        return states[known[-1][1]]


def _kept(value: float | None, keeps: Callable[[float], bool]) -> State:
    if value is None:
        return "UNKNOWN"
    return "HEALTHY" if keeps(value) else "DEGRADED"
