"""What the rules say of a whole watch, worked out anew from the requests of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tests.unit.slo.quality.oracle import Judged, Oracle, State
from tests.unit.slo.quality.truth import Process


class EndOracle(Oracle):
    """Judges the end of a watch, too."""

    def passed(self, judged: Sequence[Judged]) -> bool:
        """Whether the watch passes by itself; ``judged`` are its polls after the baseline."""
        late = [j for j in judged if not j.early]
        return all(
            (
                self.enough_known(judged),
                self.counted(),
                self.every_moment(late),
                self.pods_held(late),
                not any(j.state == "ROLLBACK" for j in judged),
                self.served(late),
                self.memory_trend() != "DEGRADED",
            )
        )

    def enough_known(self, judged: Sequence[Judged]) -> bool:
        end = self.trace.polls[-1]
        unknown = sum(j.state == "UNKNOWN" and not j.early for j in judged)
        some = any(j.state != "UNKNOWN" for j in judged)
        whole = all(self.known(source, end) for source in self.rules.sources)
        return some and whole and unknown <= self.watch.unknown_limit_ratio * len(judged) and self.baseline()

    def baseline(self) -> bool:
        limit = max(self.watch.stale_seconds, self.watch.unknown_limit_ratio * self.trace.polls[-1])
        for source in self.rules.sources:
            seen = [
                look.at
                for look in self.trace.looks[source]
                if any(self.readable(look, process) for process in self.trace.processes)
            ]
            if not seen or seen[0] > limit:
                return False
        return True

    def counted(self) -> bool:
        """Error rate, P95 and processor use of everything that was counted since the baseline."""
        window = self.told(self.trace.looks[self.rules.source], self.rules.source)
        rules = self.rules.criteria
        for name, rule in (("error_rate", rules.error_rate), ("p95_seconds", rules.p95_seconds)):
            needed = rule.min_requests if rule.min_requests is not None else self.watch.min_requests
            if self.share(name, window, needed) != "HEALTHY":
                return False
        cores = self.trace.gauge("cores", 0.0, 0.1) or 0.0
        return rules.cpu_ratio is None or cores < rules.cpu_ratio.limit

    def every_moment(self, late: Sequence[Judged]) -> bool:
        rules = self.rules.criteria
        names = ["logs", *(f"more.{rule.name}" for rule in rules.more)]
        names += [n for n in ("memory_bytes", "sse_connections", "sse_reconnect_ratio") if getattr(rules, n)]
        for name in names:
            states = [j.states[f"criteria.{name}"] for j in late if f"criteria.{name}" in j.states]
            unknown = states.count("UNKNOWN")
            if "DEGRADED" in states or "HEALTHY" not in states:
                return False
            if unknown > self.watch.unknown_limit_ratio * len(states):
                return False
        return True

    def pods_held(self, late: Sequence[Judged]) -> bool:
        first = self.trace.pods[0]
        for seen in self.trace.pods:
            if any(count > first.restarts.get(pod, 0) for pod, count in seen.restarts.items()):
                return False
        if any(p.restarts_pod and self.noticed(p) for p in self.trace.processes):
            return False
        states = [j.states["criteria.pods"] for j in late]
        limit = self.watch.unknown_limit_ratio * len(states)
        good = bool(states) and states[-1] != "DEGRADED" and "HEALTHY" in states
        known = [s for s in states if s != "DEGRADED"]
        return good and states.count("DEGRADED") <= limit and states.count("UNKNOWN") <= 0.05 * len(known)

    def noticed(self, process: Process) -> bool:
        source = self.rules.source
        return any(self.shows(look, process, source) for look in self.trace.looks[source])

    def served(self, late: Sequence[Judged]) -> bool:
        end = late[-1].states["triggers.down_seconds"] if late else "UNKNOWN"
        states = [j.states["probe"] for j in late]
        bad = len(states) - states.count("HEALTHY")
        return end == "HEALTHY" and bad <= self.watch.unknown_limit_ratio * len(states)

    def memory_trend(self) -> State:
        rules = self.rules.criteria
        if rules.memory_growth_ratio is None or rules.memory_bytes is None:
            return "HEALTHY"
        seconds = self.trace.polls[-1]
        points = [
            (at, size)
            for at in self.trace.polls
            if at >= 0.2 * seconds and (size := self.trace.gauge("memory", at, 1e8)) is not None
        ]
        if len(points) < 8:
            return "DEGRADED"
        slopes = [(y2 - y1) / (x2 - x1) for x1, y1 in points for x2, y2 in points if x2 > x1]
        grown = median(slopes) * seconds
        return "DEGRADED" if grown > rules.memory_growth_ratio.limit * rules.memory_bytes.limit else "HEALTHY"
