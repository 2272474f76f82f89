"""Metrics of pods: what is added up, what is left out, and what becomes an error instead of a value."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime

import pytest

from include.bluegreen.state import Endpoint, PodState, ServiceState
from include.clients.kubernetes import Cluster
from include.clients.openmetrics import MetricsUnusable, parse, snapshot
from include.errors import ClusterUnreachable
from include.plan.models import Traffic

PAGE = """\
# HELP http_requests_total Requests
# TYPE http_requests_total counter
http_requests_total{method="GET",path="/orders",status="200"} 90
http_requests_total{method="POST",path="/orders",status="200"} 10
http_requests_total{method="GET",path="/orders",status="500"} 3
http_requests_total{method="GET",path="/healthz",status="200"} 1000
http_requests_total{method="GET",path="/readyz",status="503"} 50
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{path="/orders",le="0.1"} 80
http_request_duration_seconds_bucket{path="/orders",le="+Inf"} 103
http_request_duration_seconds_sum{path="/orders"} 9
http_request_duration_seconds_count{path="/orders"} 103
http_request_duration_seconds_bucket{path="/items",le="0.1"} 5
http_request_duration_seconds_bucket{path="/items",le="+Inf"} 5
http_request_duration_seconds_bucket{path="/healthz",le="0.1"} 1000
http_request_duration_seconds_bucket{path="/healthz",le="+Inf"} 1000
# TYPE sse_connections_active gauge
sse_connections_active 12
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.5e+08
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 7.25
# TYPE db_connections_open gauge
db_connections_open 4
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1700000000
"""

TRAFFIC = Traffic(
    service="erp",
    preview_service="erp-preview",
    selector={"app": "erp"},
    public_url="https://erp.example.com",
    preview_url="https://preview.example.com",
)


def parsed(text, **options):
    options.setdefault("health_paths", TRAFFIC.health_paths)
    return parse(text, pod="p1", pod_uid="u1", taken_at=5.0, **options)


def test_one_pod():
    sample = parsed(PAGE)
    assert sample.requests == {"200": 100.0, "500": 3.0}
    assert sample.latency_buckets == ((0.1, 85.0), (math.inf, 108.0))
    assert (sample.sse_connections, sample.memory_bytes, sample.cpu_seconds) == (12, 1.5e8, 7.25)
    assert (sample.db_connections, sample.started_at, sample.taken_at) == (4, 1.7e9, 5.0)


def test_an_application_without_a_request_yet():
    sample = parsed("process_start_time_seconds 1700000000\n")
    assert (sample.requests, sample.latency_buckets, sample.sse_connections) == ({}, (), None)


def test_not_a_number_stays_what_it_is():
    sample = parsed(PAGE.replace("sse_connections_active 12", "sse_connections_active NaN"))
    assert sample.sse_connections is not None
    assert math.isnan(sample.sse_connections)


def test_a_line_may_bear_a_time_and_labels_may_hold_anything():
    text = (
        'http_requests_total{path="/a b} 7",status="200"} 4 1700000000000\n'
        'http_requests_total{path="a\\"c",status="500"}   2\n'
        "process_cpu_seconds_total 7.5 1700000000000\n"
        "sse_connections_active\t3\n"
    )
    sample = parsed(text)
    assert sample.requests == {"200": 4.0, "500": 2.0}
    assert (sample.cpu_seconds, sample.sse_connections) == (7.5, 3)


def test_an_exemplar_is_not_the_value():
    text = (
        'http_requests_total{status="500"} 7 # {trace_id="a"} 0.67\n'
        'http_request_duration_seconds_bucket{le="0.5"} 9 1.7e9 # {trace_id="b"} 0.2 1.7e9\n'
        'process_cpu_seconds_total 5 # {a="b"} 1\n'
        'http_requests_total{path="/ # ",status="200"} 4\n'
    )
    sample = parsed(text)
    assert sample.requests == {"500": 7.0, "200": 4.0}
    assert (sample.latency_buckets, sample.cpu_seconds) == (((0.5, 9.0),), 5.0)


def test_the_same_line_counts_as_what_it_says_now():
    assert [parsed(f'http_requests_total{{status="200"}} {n}\n').requests["200"] for n in (1, 5)] == [1, 5]


def test_several_processes_behind_one_page_are_added_up():
    text = 'sse_connections_active{pid="1"} 2\nsse_connections_active{pid="2"} 3\nprocess_cpu_seconds_total 1\n'
    assert parsed(text).sse_connections == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>Sign in</html>",
        "go_goroutines 12\n",
        "http_requests_total{status=200} oops\n",
        'http_requests_total{status="200" 4',
        'http_requests_total{status="200"} 4 5 6',
        'http_requests_total{status="200"} 4 http_requests_total{status="500"} 7',
        'http_requests_total{status="200"}',
        "http_requests_total",
        '{"kind": "Status"}',
    ],
)
def test_what_is_no_metrics_is_an_error(text):
    with pytest.raises(MetricsUnusable, match="p1"):
        parsed(text)


def pod(name, *, running=True, deleting=False, **more):
    started = datetime(2030, 1, 1, tzinfo=UTC) if running else None
    return PodState(
        name, f"uid-{name}", {}, "Running" if running else "Pending", running, deleting, started_at=started, **more
    )


class Slot(Cluster):
    """A cluster of which only the pods of one slot are known."""

    def __init__(self, pods, answers, *, active="green", preview="blue", unreachable=()):
        self.namespace = "production"
        self._pods, self._answers, self._unreachable = pods, answers, unreachable
        self._selectors = {"erp": active, "erp-preview": preview}
        self.asked = []

    def _fail(self, what):
        if what in self._unreachable:
            raise ClusterUnreachable(f"no answer for {what}")

    async def pods(self, labels):
        self._fail("pods")
        return tuple(self._pods)

    async def service(self, name):
        self._fail("service")
        return ServiceState(name, TRAFFIC.selector_for(self._selectors[name]))

    async def endpoints(self, service):
        self._fail("endpoints")
        self.asked.append(service)
        return tuple(Endpoint(one.name, one.uid, one.ready, one.deleting, {"http": 8080}) for one in self._pods)

    async def pod_get(self, pod, path, *, port=None):
        self.asked.append((pod, path, port))
        answer = self._answers.get(pod, PAGE)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return PAGE
        return answer


async def test_every_pod_is_read():
    cluster = Slot([pod("p1"), pod("p2")], {})
    seen = await snapshot(cluster, TRAFFIC, "green", 1000.0)
    assert [sample.pod_uid for sample in seen.pods] == ["uid-p1", "uid-p2"]
    assert (seen.ready_endpoints, seen.errors, seen.slot, seen.taken_at) == (2, (), "green", 1000.0)
    assert all(1000.0 <= sample.taken_at < 1010.0 for sample in seen.pods)
    assert ("p1", "/metrics", 8080) in cluster.asked


async def test_what_cannot_be_read_is_an_error_and_no_value():
    broken = {"p1": ClusterUnreachable("pod p1: connection refused"), "p2": "<html>", "p3": 30.0}
    cluster = Slot([pod("p1"), pod("p2"), pod("p3"), pod("p4")], broken)
    started = time.monotonic()
    seen = await snapshot(cluster, TRAFFIC, "green", 1000.0, pod_timeout_seconds=0.2)
    assert time.monotonic() - started < 10, "a pod that hangs must not delay the others"
    assert [sample.pod for sample in seen.pods] == ["p4"]
    assert len(seen.errors) == 3
    assert any("p3 did not show its metrics within 0.2 s" in error for error in seen.errors)


async def test_a_pod_that_does_not_run_is_an_error_and_one_on_its_way_out_is_not():
    pods = [pod("p1", running=False, waiting_reason="ErrImagePull"), pod("p2", deleting=True)]
    seen = await snapshot(Slot(pods, {"p2": ClusterUnreachable("gone")}), TRAFFIC, "green", 1000.0)
    assert seen.pods == ()
    assert seen.errors == ("pod p1 does not run (ErrImagePull)",)
    assert seen.ready_endpoints == 0


async def test_a_slot_without_pods():
    seen = await snapshot(Slot([], {}), TRAFFIC, "green", 1000.0)
    assert (seen.pods, seen.ready_endpoints, seen.errors) == ((), 0, ("slot green has no pods",))


async def test_the_endpoints_are_those_of_the_service_that_selects_the_slot():
    cluster = Slot([pod("p1")], {}, active="blue", preview="green")
    await snapshot(cluster, TRAFFIC, "green", 1000.0)
    assert "erp-preview" in cluster.asked
    assert "erp" not in cluster.asked


async def test_nobody_selects_the_slot():
    seen = await snapshot(Slot([pod("p1")], {}, active="blue", preview="blue"), TRAFFIC, "green", 1000.0)
    assert seen.ready_endpoints is None
    assert seen.errors == ("neither erp nor erp-preview selects slot green",)
    assert len(seen.pods) == 1


@pytest.mark.parametrize("what", ["pods", "service", "endpoints"])
async def test_a_cluster_that_does_not_answer(what):
    seen = await snapshot(Slot([pod("p1")], {}, unreachable=(what,)), TRAFFIC, "green", 1000.0)
    assert seen.ready_endpoints is None
    assert seen.errors == (f"no answer for {what}",)
