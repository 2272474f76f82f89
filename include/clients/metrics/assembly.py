"""From series of Prometheus to samples of pods.

A target is one page that Prometheus scrapes; a pod with several containers has several, and they are added up.
Everything of one scrape has one timestamp. A series that is older than its target's newest scrape is no longer
there, for its process was replaced, and must not be added to what the new process counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from include.clients.metrics.selection import UP
from include.clients.prometheus import Series
from include.plan.rules import Metrics
from include.slo.samples import PodSample

Target = tuple[str, str, str]


@dataclass(frozen=True)
class Point:
    """One value of one series."""

    labels: Mapping[str, str]
    at: float
    value: float


@dataclass(frozen=True)
class Assembly:
    """The pods, in the order of their names.

    :param unread: pods that Prometheus knows and has no metrics of
    :param problems: what makes the samples untrue or incomplete, one sentence each
    """

    pods: tuple[PodSample, ...] = ()
    unread: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def newest(series: Iterable[Series]) -> list[Point]:
    """The last value of each series."""
    return [Point(one.labels, *one.samples[-1]) for one in series if one.samples]


def assemble(points: Iterable[Point], metrics: Metrics) -> Assembly:
    """Put one moment's values together, by pod."""
    problems: dict[str, None] = {}
    targets: dict[Target, list[Point]] = defaultdict(list)
    scraped: dict[Target, Point] = {}
    for point in points:
        pod = point.labels.get(metrics.pod_label)
        if not pod:
            problems[f"series of {_name(point)} have no label {metrics.pod_label}: {_NO_POD}"] = None
            continue
        target = (pod, point.labels.get("job", ""), point.labels.get("instance", ""))
        if _name(point) == UP:
            scraped[target] = point
        else:
            targets[target].append(point)
    problems |= dict.fromkeys(_twice(scraped or targets, metrics))
    pages = {target: _page(found) for target, found in targets.items()}
    by_pod: dict[str, list[list[Point]]] = defaultdict(list)
    for (pod, _, _), page in sorted(pages.items()):
        by_pod[pod].append(page)
    samples = tuple(_sample(pod, found, metrics, problems) for pod, found in by_pod.items())
    unread = sorted({pod for pod, _, _ in scraped} - by_pod.keys())
    problems |= dict.fromkeys(_silent(pod, scraped, metrics) for pod in unread)
    return Assembly(samples, tuple(unread), tuple(problems))


_NO_POD = "relabel the targets, or correct slo.metrics.pod_label"


def _name(point: Point) -> str:
    return point.labels.get("__name__", "")


def _page(points: list[Point]) -> list[Point]:
    """What belongs to the newest scrape of a target."""
    at = max(point.at for point in points)
    return [point for point in points if point.at == at]


def _sample(pod: str, pages: list[list[Point]], metrics: Metrics, problems: dict[str, None]) -> PodSample:
    values: dict[str, list[float]] = defaultdict(list)
    requests: dict[str, float] = defaultdict(float)
    buckets: dict[float, float] = defaultdict(float)
    for point in (point for page in pages for point in page):
        name = _name(point)
        if name == metrics.requests:
            if metrics.status_label not in point.labels:
                problems[f"{name} of pod {pod} has no label {metrics.status_label}: {_NO_STATUS}"] = None
            requests[point.labels.get(metrics.status_label, "")] += point.value
        elif name == f"{metrics.latency}_bucket":
            try:
                buckets[float(point.labels["le"])] += point.value
            except (KeyError, ValueError):
                problems[f"{name} of pod {pod} has a bucket whose label le is no number"] = None
        else:
            values[name].append(point.value)

    def total(name: str) -> float | None:
        return sum(values[name]) if name in values else None

    return PodSample(
        pod_uid=pod,
        pod=pod,
        # As old as the oldest of its parts: a container that is no longer scraped makes the whole stale.
        taken_at=min(page[0].at for page in pages),
        # Of several processes, the counters are whole only since the youngest started.
        started_at=max(values[metrics.started_at], default=None),
        requests=dict(requests),
        latency_buckets=tuple(sorted(buckets.items())),
        sse_connections=total(metrics.sse_connections),
        memory_bytes=total(metrics.memory_bytes),
        cpu_seconds=total(metrics.cpu_seconds),
        db_connections=total(metrics.db_connections),
    )


_NO_STATUS = "errors cannot be told from answers; correct slo.metrics.status_label"


def _twice(targets: Iterable[Target], metrics: Metrics) -> list[str]:
    """One page under two jobs would count everything twice."""
    jobs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pod, job, instance in targets:
        jobs[pod, instance].add(job)
    return [
        f"pod {pod} is scraped by the jobs {', '.join(sorted(names))}, which counts it {len(names)} times: "
        "name one job in slo.metrics.labels"
        for (pod, _), names in sorted(jobs.items())
        if len(names) > 1
    ]


def _silent(pod: str, scraped: Mapping[Target, Point], metrics: Metrics) -> str:
    last = [point.value for (name, _, _), point in scraped.items() if name == pod]
    if not any(last):
        return f"Prometheus cannot scrape pod {pod}"
    return f"Prometheus scrapes pod {pod} and finds neither {metrics.requests} nor {metrics.started_at} there"
