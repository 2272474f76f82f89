"""Prometheus as a source of metrics: the raw counters it scraped, with the times it scraped them.

Growth is computed by Stellwerk and not by ``rate()``, so that series born at the cutover, resets and stale samples
mean the same whatever the source.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.clients.metrics.assembly import Assembly, assemble, newest
from include.clients.metrics.history import History
from include.clients.metrics.readings import MOST_ELEMENTS, reading
from include.clients.metrics.selection import UP, duration, filled, matchers, standard
from include.clients.prometheus import Answer, Prometheus
from include.errors import ClusterError, MetricsError, MetricsUnusable
from include.plan.models import Environment
from include.plan.rules import Rule, SourceName
from include.plan.slots import Slot
from include.slo.moment import allowed_age_seconds
from include.slo.samples import PodSample, Reading, Snapshot

_DISCOVERY_SECONDS: Final = 6.0
"""Prometheus takes up changes of its targets every 5 s."""

_SKEW_SECONDS: Final = 2.0
"""What clocks may differ without a word, as long as samples are allowed to be older than that."""


class PrometheusSource:
    """Reads what a Prometheus has scraped of a slot's pods: one request, and one for each rule's own query.

    :param cluster: tells which pods there ought to be; while it is out, Prometheus' own list has to do
    """

    name: SourceName = "prometheus"

    def __init__(self, environment: Environment, cluster: Cluster, prometheus: Prometheus) -> None:
        self._environment = environment
        self._cluster = cluster
        self._prometheus = prometheus
        rules = environment.slo
        own = [(name, rule) for name, rule in rules.named() if rules.source_of(rule) == self.name]
        self._queries: list[tuple[str, Rule, str]] = [(n, rule, rule.query) for n, rule in own if rule.query]
        self._allowed_age = allowed_age_seconds(rules, environment.watch, self.name)
        self._needs_pods = rules.source == self.name or any(rule.query is None for _, rule in own)

    async def look(self, slot: Slot, now: float) -> Snapshot:
        """Read the newest scrapes of the slot's pods; see :meth:`include.slo.source.Source.look`."""
        errors: list[str] = []
        found, pods, readings = await asyncio.gather(
            self._scraped(slot, errors), self._pods(slot), self._readings(slot, now)
        )
        unread = dict.fromkeys(found.unread)
        if self._needs_pods and not errors:
            errors += found.problems
            for name, sentence in self._missing(found.pods, pods, now):
                unread[name] = None
                errors.append(sentence)
            if not found.pods and not errors:
                errors.append(f"Prometheus knows no pod of slot {slot}: {self._asked(slot)} gives nothing")
        if skew := self._skew():
            errors.append(skew)
        return Snapshot(
            taken_at=now, slot=slot, pods=found.pods, errors=tuple(errors), unread=tuple(unread), readings=readings
        )

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        """Read what Prometheus remembers, in at most some hundred snapshots; see :class:`History`."""
        queries = tuple(
            (name, rule, filled(query, self._environment, slot)) for name, rule, query in self._queries
        )
        history = History(self._environment, self._prometheus, slot, queries, pods=self._needs_pods)
        return await history.read(since, until)

    async def scrape_seconds(self, slot: Slot) -> float | None:
        """The usual time between two scrapes of the slot's pods; None where too few are known.

        :raises MetricsError: no usable answer
        """
        answer = await self._prometheus.query(f"{UP}{{{matchers(self._environment, slot)}}}[10m]")
        gaps = sorted(
            later - earlier for one in answer.series for (earlier, _), (later, _) in pairwise(one.samples)
        )
        return gaps[len(gaps) // 2] if gaps else None

    def _asked(self, slot: Slot) -> str:
        return f"{standard(self._environment, slot)}[{duration(self._allowed_age)}]"

    async def _scraped(self, slot: Slot, errors: list[str]) -> Assembly:
        if not self._needs_pods:
            return Assembly()
        try:
            answer = await self._prometheus.query(self._asked(slot), newest=True)
            check_matrix(answer)
        except MetricsError as error:
            errors.append(str(error))
            return Assembly()
        errors += warned(answer)
        return assemble(newest(answer.series), self._environment.slo.metrics)

    async def _pods(self, slot: Slot) -> tuple[PodState, ...]:
        if not self._needs_pods:
            return ()
        try:
            return await self._cluster.pods(self._environment.traffic.selector_for(slot))
        except ClusterError:
            return ()

    async def _readings(self, slot: Slot, now: float) -> tuple[Reading, ...]:
        async def ask(name: str, rule: Rule, query: str) -> Reading:
            promql = filled(query, self._environment, slot)
            try:
                answer = await self._prometheus.query(promql, most_series=10 * MOST_ELEMENTS)
            except MetricsError as error:
                return Reading(name, now, problem=str(error))
            return reading(name, rule, answer, now)

        return tuple(await asyncio.gather(*(ask(*one) for one in self._queries)))

    def _missing(
        self, samples: tuple[PodSample, ...], pods: tuple[PodState, ...], now: float
    ) -> list[tuple[str, str]]:
        """Ready pods of which Prometheus has no sample that says anything about now."""
        seen = {sample.pod for sample in samples}
        grace = self._allowed_age + _DISCOVERY_SECONDS
        at = datetime.fromtimestamp(now, UTC)
        return [
            (pod.name, f"Prometheus has no sample of pod {pod.name} that is younger than {self._allowed_age:g} s")
            for pod in pods
            if pod.ready and not pod.deleting and pod.name not in seen
            # A pod that has just come up is not known yet: what it serves is counted with its first sample.
            if pod.started_at is None or (at - pod.started_at).total_seconds() > grace
        ]

    def _skew(self) -> str:
        skew = self._prometheus.skew_seconds
        if skew is None or abs(skew) <= max(_SKEW_SECONDS, self._allowed_age / 2):
            return ""
        return (
            f"the clock of Prometheus is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this one: "
            "nobody knows how old its samples are; set both by NTP"
        )


def warned(answer: Answer) -> list[str]:
    """Prometheus' warnings, each of which means that the answer may lack a part."""
    return [f"Prometheus warns: {one}" for one in answer.warnings]


def check_matrix(answer: Answer) -> None:
    """:raises MetricsUnusable: the answer holds no samples with their times"""
    if answer.kind != "matrix":
        raise MetricsUnusable(
            "Prometheus gives no samples", expected="resultType matrix", seen=f"resultType {answer.kind}"
        )
