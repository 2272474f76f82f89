"""The dry check: will every rule of the watch have data? Asked of the active slot, which has traffic today.

A rule that nobody can answer is found before the release, and not by a watch that never becomes sure.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol, runtime_checkable

from include.chart.finding import Finding
from include.clients.prober import run_smoke
from include.errors import MetricsError
from include.plan.models import Environment
from include.plan.rules import Metrics, Rule, SourceName
from include.plan.slots import Slot
from include.slo.samples import PodSample, Snapshot
from include.slo.source import Source

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""The first requests of a new installation, and the scrape that sees them, take a moment."""

_AGAIN_SECONDS: Final = 1.0
_LATE: Final = 1.25
_EARLY: Final = 2.0
_PLACE: Final = "environment"


@runtime_checkable
class Scraped(Protocol):
    """A source that is filled at an interval of its own."""

    async def scrape_seconds(self, slot: Slot) -> float | None:
        """The usual time between two samples; None when not known."""


async def check_metrics(
    environment: Environment, sources: Mapping[SourceName, Source], active: Slot
) -> list[Finding]:
    """Everything that would keep the watch from judging, all in one go.

    The public URL is asked first, with the prober's own checks: an expired certificate is found today, and the
    requests are the data that the rules need.

    :param sources: one for each that some rule reads
    """
    found = await public_findings(environment)
    snapshots, lacking = await _until_answered(environment, sources, active)
    found += lacking
    for name, snapshot in snapshots.items():
        found += source_findings(environment, name, snapshot)
        found += await _interval_findings(environment, sources[name], active)
    return found


async def public_findings(environment: Environment) -> list[Finding]:
    """What the prober's checks see of the public URL, before anything has changed."""
    url = environment.traffic.public_url
    results = await run_smoke(url, environment.smoke)
    remedy = "mend it, or correct `smoke` and traffic.public_url: during the watch it would count as an outage"
    return [
        Finding(
            "prober", "block", "", url, f"the prober's check fails before the release: {result.sentence}", remedy
        )
        for result in results
        if not result.ok
    ]


def rule_findings(environment: Environment, snapshots: Mapping[SourceName, Snapshot]) -> list[Finding]:
    """The rules that have no data, each by its name."""
    rules = environment.slo
    found = []
    for name, rule in rules.named():
        source = rules.source_of(rule)
        problem = _lacks(name, rule, rules.metrics, snapshots[source])
        if problem:
            what, remedy = problem
            found.append(Finding("rule-data", "block", f"slo.{name}", _PLACE, f"{source}: {what}", remedy))
    return found


def source_findings(environment: Environment, name: SourceName, snapshot: Snapshot) -> list[Finding]:
    """What a source could not show although the rules have their data: those who decide have to know."""
    remedy = "look at it before the release: during the watch it would be UNKNOWN"
    found = [
        Finding("metrics-source", "warn", name, _PLACE, f"slot {snapshot.slot}: {sentence}", remedy)
        for sentence in snapshot.errors
    ]
    unlabelled = environment.slo.metrics
    if any("" in sample.requests for sample in snapshot.pods):
        what = (
            f"{unlabelled.requests} has series without the label {unlabelled.status_label}: no error would be seen"
        )
        how = "set slo.metrics.status_label to the label that holds the HTTP status"
        found.append(Finding("metrics-labels", "block", name, _PLACE, what, how))
    return found


async def _until_answered(
    environment: Environment, sources: Mapping[SourceName, Source], active: Slot
) -> tuple[dict[SourceName, Snapshot], list[Finding]]:
    patience = PATIENCE_SECONDS + environment.slo.metrics.scrape_seconds
    started = time.monotonic()
    while True:
        now = time.time()
        looks = await asyncio.gather(*(source.look(active, now) for source in sources.values()))
        snapshots = dict(zip(sources, looks, strict=True))
        lacking = rule_findings(environment, snapshots)
        if not lacking or time.monotonic() - started >= patience:
            return snapshots, lacking
        log.info("not yet: %s", lacking[0].what)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _interval_findings(environment: Environment, source: Source, active: Slot) -> list[Finding]:
    if not isinstance(source, Scraped):
        return []
    try:
        seconds = await source.scrape_seconds(active)
    except MetricsError as error:
        return [Finding("metrics-source", "warn", source.name, _PLACE, str(error), "look at Prometheus")]
    return [] if seconds is None else interval_findings(environment.slo.metrics, seconds)


def interval_findings(metrics: Metrics, seconds: float) -> list[Finding]:
    """Whether the plan knows how often Prometheus scrapes: windows and the age of samples follow from it."""
    told = metrics.scrape_seconds
    what = f"the plan says that Prometheus scrapes every {told:g} s, and it does so every {seconds:.3g} s"
    place, remedy = "slo.metrics.scrape_seconds", f"set it to {math.ceil(10 * seconds) / 10:g}"
    if seconds > _LATE * told:
        why = "every sample would be stale before the next one comes"
        return [Finding("scrape-interval", "block", place, _PLACE, f"{what}: {why}", remedy)]
    if seconds < told / _EARLY:
        why = "a fault is found later than it could be"
        return [Finding("scrape-interval", "warn", place, _PLACE, f"{what}: {why}", remedy)]
    return []


def _lacks(name: str, rule: Rule, metrics: Metrics, snapshot: Snapshot) -> tuple[str, str] | None:
    """What came back instead of data, and the remedy."""
    if rule.query is not None:
        return _unanswered(name, rule.query, snapshot)
    asked, has = _needs(name, metrics)
    if any(has(sample) for sample in snapshot.pods):
        return None
    seen = "; ".join(snapshot.errors) or (
        f"{len(snapshot.pods)} pod(s) of slot {snapshot.slot} were read, and none shows it"
    )
    return (
        f"no {asked}: {seen}",
        f"have the application show {asked}, or correct slo.metrics; a rule can be left out",
    )


def _unanswered(name: str, query: str, snapshot: Snapshot) -> tuple[str, str] | None:
    reading = next((one for one in snapshot.readings if one.rule == name), None)
    if reading is not None and reading.value is not None:
        return None
    seen = reading.problem if reading is not None else "it was not asked"
    remedy = "correct the query ($selector names the active slot whatever it is), or leave the rule out"
    return f"the query {' '.join(query.split())!r} has no answer for slot {snapshot.slot}: {seen}", remedy


def _needs(name: str, metrics: Metrics) -> tuple[str, Callable[[PodSample], bool]]:
    """Which metric a rule of the standard reads, and whether a sample has it."""
    kind = name.rpartition(".")[2]
    for words, asked, has in _standard(metrics):
        if kind.startswith(words):
            return asked, has
    return f"metric for {name}", lambda _: False


def _standard(metrics: Metrics) -> Iterator[tuple[str, str, Callable[[PodSample], bool]]]:
    yield "error_rate", metrics.requests, lambda one: bool(one.requests)
    yield "p95", f"{metrics.latency}_bucket", lambda one: len(one.latency_buckets) > 1
    yield "memory", metrics.memory_bytes, lambda one: one.memory_bytes is not None
    yield "cpu", metrics.cpu_seconds, lambda one: one.cpu_seconds is not None
    yield "sse", metrics.sse_connections, lambda one: one.sse_connections is not None
