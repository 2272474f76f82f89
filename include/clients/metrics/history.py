"""What a Prometheus remembers of a slot, in a bounded number of snapshots whatever the span.

The span is divided into even ticks. Where a pod's process ended between two ticks, what it counted until its last
scrape is read as well, so that a crash in the middle of a watch hides no error.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from include.clients.metrics.assembly import Assembly, Point, assemble
from include.clients.metrics.readings import MOST_ELEMENTS, reading
from include.clients.metrics.selection import UP, duration, matchers, quoted, standard
from include.clients.prometheus import Answer, Prometheus, Series
from include.errors import MetricsUnusable
from include.plan.models import Environment
from include.plan.rules import Rule
from include.plan.slots import Slot
from include.slo.samples import PodSample, Reading, Snapshot

MOST_TICKS: Final = 180
MOST_ENDINGS: Final = 60
_TICKS_AT_ONCE: Final = 30


class History:
    """One reading of the past.

    :param queries: the rules' own, each with its name, filled in for the slot
    :param pods: whether the pods' own metrics are read, too
    """

    def __init__(
        self,
        environment: Environment,
        prometheus: Prometheus,
        slot: Slot,
        queries: tuple[tuple[str, Rule, str], ...],
        *,
        pods: bool,
    ) -> None:
        self._environment = environment
        self._prometheus = prometheus
        self._slot = slot
        self._queries = queries
        self._wants_pods = pods

    async def read(self, since: float, until: float) -> tuple[Snapshot, ...]:
        """The snapshots of a span of time, both ends among them, by time.

        :raises MetricsError: Prometheus gives no usable answer
        """
        found: list[Snapshot] = []
        *even, last = ticks(since, until, self._environment.watch.poll_seconds)
        for start in range(0, len(even), _TICKS_AT_ONCE):
            found += await self._chunk(even[start : start + _TICKS_AT_ONCE])
        found += await self._chunk([last])
        return await self._with_endings(found)

    async def _chunk(self, at: list[float]) -> list[Snapshot]:
        errors: list[str] = []
        pods = await self._pods(at, errors) if self._wants_pods else [Assembly()] * len(at)
        readings = await self._readings(at)
        return [
            Snapshot(
                taken_at=tick,
                slot=self._slot,
                pods=pods[index].pods,
                unread=pods[index].unread,
                errors=(*errors, *pods[index].problems),
                readings=tuple(readings.get(index, ())),
            )
            for index, tick in enumerate(at)
        ]

    async def _pods(self, at: list[float], errors: list[str]) -> list[Assembly]:
        answer = await self._range(standard(self._environment, self._slot), at)
        times = await self._range(f"timestamp({UP}{{{matchers(self._environment, self._slot)}}})", at)
        errors += [f"Prometheus warns: {one}" for one in {*answer.warnings, *times.warnings}]
        metrics = self._environment.slo.metrics
        scraped = {(_key(one.labels), index): value for one in times.series for index, value in _by_tick(one, at)}
        points: dict[int, list[Point]] = defaultdict(list)
        for one in answer.series:
            key = _key(one.labels)
            for index, value in _by_tick(one, at):
                points[index].append(Point(one.labels, scraped.get((key, index), at[index]), value))
        return [assemble(points[index], metrics) for index in range(len(at))]

    async def _readings(self, at: list[float]) -> dict[int, list[Reading]]:
        found: dict[int, list[Reading]] = defaultdict(list)
        for name, rule, promql in self._queries:
            answer = await self._range(promql, at, most_series=10 * MOST_ELEMENTS)
            elements: dict[int, list[Series]] = defaultdict(list)
            for one in answer.series:
                for index, value in _by_tick(one, at):
                    elements[index].append(Series(one.labels, ((at[index], value),)))
            for index, tick in enumerate(at):
                now = Answer("vector", tuple(elements.get(index, ())), answer.warnings)
                found[index].append(reading(name, rule, now, tick))
        return found

    async def _range(self, promql: str, at: list[float], *, most_series: int = 20_000) -> Answer:
        step = at[1] - at[0] if len(at) > 1 else 1.0
        answer = await self._prometheus.query_range(
            promql, since=at[0], until=at[-1] + step / 100, step_seconds=step, most_series=most_series
        )
        if answer.kind != "matrix":
            raise MetricsUnusable("Prometheus gives no history", expected="a matrix", seen=answer.kind)
        return answer

    async def _with_endings(self, snapshots: list[Snapshot]) -> tuple[Snapshot, ...]:
        """Further snapshots at the last scrapes of processes that ended between two ticks."""
        further: list[Snapshot] = []
        for pod, start, end in _endings(snapshots)[:MOST_ENDINGS]:
            selector = standard(self._environment, self._slot)
            label = self._environment.slo.metrics.pod_label
            promql = f"{selector[:-1]},{label}={quoted(pod)}}}[{duration(end - start)}]"
            further += self._last_scrapes(pod, await self._prometheus.query(promql, at=end))
        return tuple(sorted([*snapshots, *further], key=lambda one: one.taken_at))

    def _last_scrapes(self, pod: str, answer: Answer) -> Iterable[Snapshot]:
        """What a pod showed before each of its ends, and first after it; of the other pods they say nothing."""
        by_time: dict[float, list[Point]] = defaultdict(list)
        for one in answer.series:
            for at, value in one.samples:
                by_time[at].append(Point(one.labels, at, value))
        metrics = self._environment.slo.metrics
        samples = [sample for at in sorted(by_time) for sample in assemble(by_time[at], metrics).pods]
        kept: dict[float, PodSample] = {}
        for earlier, later in pairwise(samples):
            if earlier.started_at != later.started_at:
                kept |= {earlier.taken_at: earlier, later.taken_at: later}
        if samples:
            kept[samples[-1].taken_at] = samples[-1]
        for at, sample in sorted(kept.items()):
            yield Snapshot(at, self._slot, (sample,), errors=(f"only what pod {pod} showed then",))


def ticks(since: float, until: float, poll_seconds: float) -> list[float]:
    """Moments from one end to the other, no closer than two polls and no more than :data:`MOST_TICKS`.

    All but the last one are even, and that to the millisecond, which is as exactly as Prometheus steps.
    """
    if until <= since:
        return [until]
    step = math.ceil(max(poll_seconds, (until - since) / (MOST_TICKS - 1)) * 1000)
    number = math.ceil(round((until - since) * 1000) / step)
    return [*(since + step * index / 1000 for index in range(number)), until]


def _endings(snapshots: list[Snapshot]) -> list[tuple[str, float, float]]:
    """Pods whose process is another one, or gone, at the next tick: name, and the two ticks."""
    found = []
    for earlier, later in pairwise(snapshots):
        after: Mapping[str, PodSample] = {sample.pod_uid: sample for sample in later.pods}
        for sample in earlier.pods:
            same = after.get(sample.pod_uid)
            if same is None or same.started_at != sample.started_at:
                found.append((sample.pod, earlier.taken_at, later.taken_at))
    return found


def _key(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _by_tick(series: Series, at: list[float]) -> Iterable[tuple[int, float]]:
    """A range's values with the index of their tick."""
    step = at[1] - at[0] if len(at) > 1 else 1.0
    for moment, value in series.samples:
        index = round((moment - at[0]) / step)
        if 0 <= index < len(at):
            yield index, value
