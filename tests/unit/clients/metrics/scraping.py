"""A Prometheus in memory: pages that were scraped, and the few kinds of query that Stellwerk asks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx

from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.clients.prometheus import Access, Prometheus
from include.errors import ClusterUnreachable
from include.plan.models import Environment
from tests.unit.plan.test_models import ENVIRONMENT

Labels = tuple[tuple[str, str], ...]
LOOKBACK_SECONDS = 300.0
# A sample may be 5 s old: four, and a scrape.
SLO = {"source": "prometheus", "metrics": {"scrape_seconds": 1}}
WATCH = {"stale_seconds": 4}


def environment(**changes: Any) -> Environment:
    connections = {**ENVIRONMENT["connections"], "prometheus": "p"}
    return Environment.model_validate(
        {**ENVIRONMENT, "connections": connections, "watch": WATCH, "slo": SLO, **changes}
    )


def labels(name: str, pod: str, **more: str) -> dict[str, str]:
    target = {"job": "pods", "instance": f"{pod}:8080", "pod": pod, "namespace": "production"}
    slot = {"app_kubernetes_io_name": "erp", "version": "green"}
    return {"__name__": name, **target, **slot, **more}


def page(pod: str, requests: Mapping[str, float], *, started: float = 1.0, **more: Any) -> dict[Labels, float]:
    """What one pod shows: requests by status, each answered within 0.1 s."""
    found = {key(labels("http_requests_total", pod, path="/", status=s)): n for s, n in requests.items()}
    for bound in ("0.1", "+Inf"):
        bucket = labels("http_request_duration_seconds_bucket", pod, path="/", le=bound)
        found[key(bucket)] = sum(requests.values())
    found[key(labels("process_start_time_seconds", pod))] = started
    return found | {key(labels(name, pod)): value for name, value in more.items()}


def key(found: Mapping[str, str]) -> Labels:
    return tuple(sorted(found.items()))


@dataclass
class FakePrometheus:
    """Remembers scrapes; a series that a scrape no longer shows ends there, as Prometheus' staleness says.

    :param warnings: given with every answer
    :param readings: query to what it answers
    """

    now: float = 0.0
    warnings: tuple[str, ...] = ()
    readings: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    _series: dict[Labels, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _ended: dict[Labels, float] = field(default_factory=dict)

    def scrape(self, pod: str, at: float, shown: Mapping[Labels, float] | None, **target: str) -> None:
        """Note a page of a pod, None for a scrape that failed."""
        up = key(labels("up", pod, **target))
        self._series[up].append((at, 0.0 if shown is None else 1.0))
        current = {key({**dict(one), **target}): value for one, value in (shown or {}).items()}
        for one, value in current.items():
            self._ended.pop(one, None)
            self._series[one].append((at, value))
        instance = dict(up)["instance"], dict(up)["job"]
        for one in self._series:
            mine = dict(one)
            if one != up and one not in current and (mine.get("instance"), mine.get("job")) == instance:
                self._ended.setdefault(one, at)

    def forget(self, pod: str, at: float) -> None:
        """The target is gone."""
        for one in self._series:
            if dict(one).get("pod") == pod:
                self._ended.setdefault(one, at)

    def client(self) -> Prometheus:
        return Prometheus(Access("http://127.0.0.1:9090"), transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        fields = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.asked.append(fields)
        if request.url.path.endswith("query_range"):
            return self._range(fields)
        return self._instant(fields)

    def _instant(self, fields: Mapping[str, str]) -> httpx.Response:
        at, query = float(fields.get("time", self.now)), fields["query"]
        if query in self.readings:
            return self._json("vector", self.readings[query])
        found = re.fullmatch(r"(?P<name>\w*)\{(?P<inside>.*)\}\[(?P<number>\d+)(?P<unit>ms|s|m)\]", query)
        assert found, query
        seconds = int(found["number"]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found["unit"]]
        result = []
        for one, samples in self._matching(found["name"], found["inside"]).items():
            first, last = (bisect_right(samples, moment, key=_at) for moment in (at - seconds, at))
            inside = [[t, str(v)] for t, v in samples[first:last]]
            if inside:
                result.append({"metric": dict(one), "values": inside})
        return self._json("matrix", result)

    def _range(self, fields: Mapping[str, str]) -> httpx.Response:
        start, end, step = (float(fields[name]) for name in ("start", "end", "step"))
        query = fields["query"]
        found = re.fullmatch(r"(?P<stamp>timestamp\()?(?P<name>\w*)\{(?P<inside>.*)\}\)?", query)
        number = int((end - start) / step)
        moments = [start + step * index for index in range(number + 1)]
        if query in self.readings:
            values = [[moment, self.readings[query](moment)] for moment in moments]
            return self._json("matrix", [{"metric": {}, "values": [v for v in values if v[1] is not None]}])
        assert found, query
        result = []
        for one, samples in self._matching(found["name"], found["inside"]).items():
            values = []
            for moment in moments:
                index = bisect_right(samples, moment, key=_at)
                if not index or self._ended.get(one, moment + 1) <= moment:
                    continue
                t, v = samples[index - 1]
                if t > moment - LOOKBACK_SECONDS:
                    values.append([moment, str(t if found["stamp"] else v)])
            if values:
                metric = {n: v for n, v in one if not (found["stamp"] and n == "__name__")}
                result.append({"metric": metric, "values": values})
        return self._json("matrix", result)

    def _matching(self, name: str, inside: str) -> dict[Labels, list[tuple[float, float]]]:
        wanted = re.findall(r'(\w+)(=~|!~|=)"((?:[^"\\]|\\.)*)"', inside)
        wanted += [("__name__", "=", name)] if name else []
        return {one: s for one, s in self._series.items() if all(_fits(dict(one), *part) for part in wanted)}

    def _json(self, kind: str, result: Any) -> httpx.Response:
        body = {"status": "success", "data": {"resultType": kind, "result": result}, "warnings": self.warnings}
        return httpx.Response(200, json=body)


def _at(sample: tuple[float, float]) -> float:
    return sample[0]


def _fits(found: Mapping[str, str], label: str, operator: str, text: str) -> bool:
    value, text = found.get(label, ""), re.sub(r"\\(.)", r"\1", text)
    if operator == "=":
        return value == text
    return bool(re.fullmatch(text, value)) == (operator == "=~")


class Pods(Cluster):
    """A cluster of which only pods are known, or nothing."""

    def __init__(self, *pods: PodState, silent: bool = False) -> None:
        self._known, self._silent = pods, silent

    async def pods(self, labels: Mapping[str, str]) -> tuple[PodState, ...]:
        if self._silent:
            raise ClusterUnreachable("no answer for pods")
        return self._known
