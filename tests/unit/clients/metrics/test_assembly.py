"""From series to pods: what is added up, what is left out, and what becomes a sentence instead of a value."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from include.clients.metrics.assembly import Assembly, Point, assemble, newest
from include.clients.prometheus import Series
from include.plan.rules import Metrics
from tests.unit.clients.metrics.scraping import labels, page

METRICS = Metrics()


def points(pod: str, requests: dict[str, float], at: float = 10.0, **more: float) -> list[Point]:
    return [Point(dict(one), at, value) for one, value in page(pod, requests, **more).items()]


def up(pod: str, value: float = 1.0, **more: str) -> Point:
    return Point(labels("up", pod, **more), 10.0, value)


def assembled(*found: Point) -> Assembly:
    return assemble(found, METRICS)


def test_a_pod_is_put_together_from_its_series():
    more = {"sse_connections_active": 3, "process_resident_memory_bytes": 5e8, "process_cpu_seconds_total": 2.5}
    result = assembled(*points("p1", {"200": 7, "503": 2}, started=4, db_connections_open=6, **more), up("p1"))
    (sample,) = result.pods
    assert (sample.pod, sample.pod_uid, sample.taken_at, sample.started_at) == ("p1", "p1", 10.0, 4)
    assert (sample.requests, sample.latency_buckets) == ({"200": 7, "503": 2}, ((0.1, 9), (math.inf, 9)))
    assert (sample.sse_connections, sample.memory_bytes, sample.cpu_seconds, sample.db_connections) == (
        3,
        5e8,
        2.5,
        6,
    )
    assert (result.unread, result.problems) == ((), ())


def test_what_a_pod_does_not_show_is_none_and_not_zero():
    (sample,) = assembled(Point(labels("process_start_time_seconds", "p1"), 10.0, 4.0)).pods
    assert (sample.requests, sample.latency_buckets, sample.memory_bytes, sample.sse_connections) == (
        {},
        (),
        None,
        None,
    )


def test_several_containers_are_added_up_and_as_old_as_the_older():
    side = {"instance": "p1:9090", "container": "side"}
    second = [Point({**one.labels, **side}, 8.0, one.value) for one in points("p1", {"200": 5}, started=6)]
    (sample,) = assembled(
        *points("p1", {"200": 7}, started=4), *second, up("p1"), up("p1", instance="p1:9090")
    ).pods
    assert (sample.requests, sample.taken_at, sample.started_at) == ({"200": 12}, 8.0, 6)


def test_a_series_that_the_newest_scrape_does_not_have_is_not_added():
    """The process was replaced: its five hundred errors are not those of the new one."""
    old = Point(labels("http_requests_total", "p1", path="/", status="500"), 9.0, 500.0)
    (sample,) = assembled(old, *points("p1", {"200": 1}, at=10.0)).pods
    assert sample.requests == {"200": 1}


def test_a_pod_that_is_scraped_in_vain_is_unread():
    result = assembled(up("p1", 0.0), up("p2"), *points("p2", {"200": 1}))
    assert [sample.pod for sample in result.pods] == ["p2"]
    assert (result.unread, result.problems) == (("p1",), ("Prometheus cannot scrape pod p1",))


def test_a_page_without_the_metrics_of_the_plan_is_unread_with_their_names():
    (sentence,) = assembled(up("p1")).problems
    assert "finds neither http_requests_total nor process_start_time_seconds" in sentence


def test_a_pod_under_two_jobs_would_count_twice():
    twice = [up("p1"), up("p1", job="annotated"), *points("p1", {"200": 1})]
    assert any("scraped by the jobs annotated, pods" in sentence for sentence in assembled(*twice).problems)


def test_labels_that_are_missing_are_sentences():
    nameless = Point({"__name__": "http_requests_total", "status": "200"}, 10.0, 4.0)
    no_status = Point(labels("http_requests_total", "p1", path="/"), 10.0, 4.0)
    no_bound = Point(labels("http_request_duration_seconds_bucket", "p1"), 10.0, 4.0)
    result = assembled(nameless, no_status, no_bound)
    assert [sample.pod for sample in result.pods] == ["p1"]
    words = " | ".join(result.problems)
    assert "have no label pod" in words
    assert "has no label status" in words
    assert "label le is no number" in words


def test_not_a_number_stays_what_it_is():
    (sample,) = assembled(*points("p1", {"200": math.nan})).pods
    assert math.isnan(sample.requests["200"])


def test_nothing_at_all():
    assert assembled() == Assembly()
    assert newest([Series({}, ())]) == []
    assert newest([Series({"a": "b"}, ((1.0, 2.0), (3.0, 4.0)))]) == [Point({"a": "b"}, 3.0, 4.0)]


STATUS = st.sampled_from(["200", "404", "500", "503"])
PATH = st.sampled_from(["/", "/orders", "/articles"])
COUNTS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2"]), PATH, STATUS), st.integers(0, 99)
)


@given(counts=COUNTS, order=st.randoms(use_true_random=False))
def test_the_sum_over_all_series_of_a_pod_in_whatever_order(counts, order) -> None:
    found = [
        Point(labels("http_requests_total", pod, instance=f"{pod}:{port}", path=path, status=status), 10.0, count)
        for (pod, port, path, status), count in counts.items()
    ]
    expected: dict[str, Counter[str]] = {pod: Counter() for (pod, _, _, _) in counts}
    for (pod, _, _, status), count in counts.items():
        expected[pod][status] += count
    order.shuffle(found)
    result = assembled(*found)
    assert [sample.pod for sample in result.pods] == sorted(expected)
    for sample in result.pods:
        assert {s: n for s, n in sample.requests.items() if n} == {
            s: n for s, n in expected[sample.pod].items() if n
        }
    assert result.problems == ()
