"""Metrics of single pods, read through the API server: a way that exists on every cluster.

A pod that does not answer, or answers with something else than its metrics, becomes a sentence in the snapshot's
errors and never a value: no data is not zero.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.state import Endpoint, PodState
from include.clients.kubernetes import Cluster
from include.errors import ClusterError, MetricsUnusable, StellwerkError
from include.plan.models import Slot, Traffic
from include.plan.rules import Metrics
from include.slo.samples import PodSample, Snapshot

_TOGETHER: Final = 16

_NAME: Final = re.compile(r"[^\s{]+")
_SERIES: Final = re.compile(r'[^\s{]+\s*(\{([^"}]|"([^"\\]|\\.)*")*\})?')

STANDARD: Final = Metrics()
"""The names of the plan that ships."""


def parse(
    text: str,
    *,
    pod: str,
    pod_uid: str,
    taken_at: float,
    health_paths: Collection[str] = (),
    names: Metrics = STANDARD,
) -> PodSample:
    """One pod's metrics. Series of one name are added up, those of health paths left out.

    :raises MetricsUnusable: no exposition format, or none of the metrics in it
    """
    try:
        samples: Mapping[str, list[Sample]] = _by_name(text, names)
    except (ValueError, KeyError, IndexError) as error:
        raise MetricsUnusable(
            f"the metrics of pod {pod} cannot be read",
            expected="the text format of Prometheus",
            seen=f"{error} in {text[:60]!r}",
        ) from error

    def total(name: str) -> float | None:
        found = samples.get(name)
        return sum(sample.value for sample in found) if found else None

    # Of several processes behind one page, the counters are whole only since the youngest started.
    starts = [sample.value for sample in samples.get(names.started_at, ())]
    result = PodSample(
        pod_uid=pod_uid,
        pod=pod,
        taken_at=taken_at,
        started_at=max(starts) if starts else None,
        requests=_requests(samples.get(names.requests, ()), health_paths, names),
        latency_buckets=_buckets(samples.get(f"{names.latency}_bucket", ()), health_paths, names),
        sse_connections=total(names.sse_connections),
        memory_bytes=total(names.memory_bytes),
        cpu_seconds=total(names.cpu_seconds),
        db_connections=total(names.db_connections),
    )
    # Before its first request an application may not expose the counter yet; something of it has to be there.
    if names.requests not in samples and result.started_at is None and result.cpu_seconds is None:
        raise MetricsUnusable(
            f"the answer of pod {pod} holds none of its metrics",
            expected=f"{names.requests}, {names.started_at} or {names.cpu_seconds}",
            seen=" ".join(text.split())[:120] or "an empty page",
        )
    return result


async def snapshot(
    cluster: Cluster,
    traffic: Traffic,
    slot: Slot,
    now: float,
    *,
    names: Metrics = STANDARD,
    pod_timeout_seconds: float = 3.0,
) -> Snapshot:
    """Read every pod of a slot at once.

    :param now: seconds since the epoch
    :param pod_timeout_seconds: how long one pod may take; a pod that hangs delays nobody else's reading
    """
    started = asyncio.get_running_loop().time()
    errors: list[str] = []
    unread: list[str] = []
    try:
        pods, endpoints = await asyncio.gather(
            cluster.pods(traffic.selector_for(slot)), _endpoints(cluster, traffic, slot, errors)
        )
    except ClusterError as error:
        return Snapshot(taken_at=now, slot=slot, errors=(str(error),))
    port = _port(endpoints, traffic.port)
    together = asyncio.Semaphore(_TOGETHER)

    async def read(pod: PodState) -> PodSample | None:
        try:
            async with together, asyncio.timeout(pod_timeout_seconds):
                text = await cluster.pod_get(pod.name, traffic.metrics_path, port=port)
                taken_at = now + asyncio.get_running_loop().time() - started
            return parse(
                text,
                pod=pod.name,
                pod_uid=pod.uid,
                taken_at=taken_at,
                health_paths=traffic.health_paths,
                names=names,
            )
        except TimeoutError:
            seen = f"pod {pod.name} did not show its metrics within {pod_timeout_seconds:g} s"
        except StellwerkError as error:
            seen = str(error)
        if not pod.deleting:  # a pod on its way out may stop answering at any moment
            errors.append(seen)
            unread.extend([pod.name] if pod.ready else [])
        return None

    asked = []
    for pod in pods:
        if pod.started_at is not None:
            asked.append(read(pod))
        elif not pod.deleting and pod.phase not in ("Succeeded", "Failed"):
            errors.append(
                f"pod {pod.name} does not run ({pod.waiting_reason or pod.terminated_reason or pod.phase})"
            )
    found = await asyncio.gather(*asked)
    if not pods:
        errors.append(f"slot {slot} has no pods")
    return Snapshot(
        taken_at=now,
        slot=slot,
        pods=tuple(sample for sample in found if sample is not None),
        ready_endpoints=None if endpoints is None else usable_endpoints(endpoints, traffic.port),
        errors=tuple(errors),
        unread=tuple(unread),
    )


async def _endpoints(
    cluster: Cluster, traffic: Traffic, slot: Slot, errors: list[str]
) -> tuple[Endpoint, ...] | None:
    """The endpoints of the Service that selects the slot; None when none does or nobody can be asked."""
    try:
        for name in (traffic.service, traffic.preview_service):
            service = await cluster.service(name)
            if service is not None and dict(service.selector) == traffic.selector_for(slot):
                return await cluster.endpoints(name)
    except ClusterError as error:
        errors.append(str(error))
        return None
    errors.append(f"neither {traffic.service} nor {traffic.preview_service} selects slot {slot}")
    return None


def _port(endpoints: Iterable[Endpoint] | None, name: str) -> int | None:
    """The number of the named port; None leaves it to the API server, which takes a pod's first one."""
    return next((endpoint.ports[name] for endpoint in endpoints or () if name in endpoint.ports), None)


def _by_name(text: str, names: Metrics) -> dict[str, list[Sample]]:
    wanted = {names.latency + "_bucket", names.requests, names.sse_connections, names.memory_bytes}
    wanted |= {names.cpu_seconds, names.db_connections, names.started_at}
    # Parsing a line costs a hundred times more than leaving it out, and a page may have thousands.
    kept = [line for line in text.splitlines() if (named := _NAME.match(line)) and named[0] in wanted]
    found: dict[str, list[Sample]] = defaultdict(list)
    for line in kept:
        sample = _sample(line)
        found[sample.name].append(sample)
    return dict(found)


def _sample(line: str) -> Sample:
    # What follows a value and this sign (an exemplar of OpenMetrics) may look like a value itself.
    if " # " in line:
        return _one(line)
    series, value = _split(line)
    name, labels = _series(series)
    return Sample(name, labels, value)


def _one(line: str) -> Sample:
    (family,) = text_string_to_metric_families(line + "\n")
    (sample,) = family.samples
    return sample


def _split(line: str) -> tuple[str, float]:
    """A line's series and its value; a time that may follow it is left out."""
    series, brace, rest = line.rpartition("}")
    if not brace:
        series, *numbers = line.split()
    else:
        numbers = rest.split()
    if not 1 <= len(numbers) <= 2:
        raise ValueError(f"no value, or more than a value and a time: {line!r}")
    return series + brace, float(numbers[0])


@lru_cache(maxsize=16_384)
def _series(text: str) -> tuple[str, dict[str, str]]:
    """Name and labels; they are the same at every look, and reading them is nearly all the work."""
    if not _SERIES.fullmatch(text):
        raise ValueError(f"no series: {text[:200]!r}")
    sample = _one(f"{text} 0")
    return sample.name, sample.labels


def _requests(samples: Iterable[Sample], health_paths: Collection[str], names: Metrics) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for sample in samples:
        if sample.labels.get(names.path_label) not in health_paths:
            totals[sample.labels.get(names.status_label, "")] += sample.value
    return dict(totals)


def _buckets(
    samples: Iterable[Sample], health_paths: Collection[str], names: Metrics
) -> tuple[tuple[float, float], ...]:
    counts: dict[float, float] = defaultdict(float)
    for sample in samples:
        if sample.labels.get(names.path_label) not in health_paths:
            counts[float(sample.labels["le"])] += sample.value
    return tuple(sorted(counts.items()))
