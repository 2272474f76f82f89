"""What a look at Prometheus shows of a slot: one request, true times, and silence only where nothing is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from include.bluegreen.state import PodState
from include.clients.metrics import open_sources
from include.clients.metrics.prometheus import PrometheusSource
from include.clients.prometheus import Access, Prometheus
from include.errors import MetricsRefused
from include.plan.rules import NamedRule, SloRules, Triggers
from include.slo.window import window_stats
from tests.unit.clients.metrics.scraping import FakePrometheus, Pods, environment, page

NOW = 1000.0


def pod(name: str, *, ready: bool = True, deleting: bool = False, started_at: float = 1.0) -> PodState:
    started = datetime.fromtimestamp(started_at, UTC)
    return PodState(name, f"uid-{name}", {}, "Running", ready, deleting, started_at=started)


def source(fake: FakePrometheus, *pods: PodState, env=None, silent: bool = False) -> PrometheusSource:
    return PrometheusSource(env or environment(), Pods(*pods, silent=silent), fake.client())


@pytest.fixture
def fake() -> FakePrometheus:
    return FakePrometheus(now=NOW)


async def test_one_request_shows_every_pod_with_the_time_of_its_scrape(fake):
    fake.scrape("p1", NOW - 1.5, page("p1", {"200": 5}))
    fake.scrape("p2", NOW - 0.5, page("p2", {"200": 7, "500": 1}))
    seen = await source(fake, pod("p1"), pod("p2")).look("green", NOW)
    assert [(s.pod, s.taken_at, sum(s.requests.values())) for s in seen.pods] == [
        ("p1", NOW - 1.5, 5),
        ("p2", NOW - 0.5, 8),
    ]
    assert (seen.errors, seen.unread, seen.slot, seen.taken_at) == ((), (), "green", NOW)
    assert len(fake.asked) == 1
    assert "time" not in fake.asked[0], "the newest samples are those of Prometheus' own now"


async def test_the_other_slot_has_other_labels(fake):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    assert (await source(fake).look("blue", NOW)).pods == ()


async def test_health_endpoints_are_no_traffic(fake):
    shown = page("p1", {"200": 5})
    shown |= {
        tuple(sorted({**dict(one), "path": "/healthz"}.items())): 900.0 for one in shown if "path" in dict(one)
    }
    fake.scrape("p1", NOW - 1, shown)
    (sample,) = (await source(fake).look("green", NOW)).pods
    assert sample.requests == {"200": 5}


async def test_a_pod_that_is_gone_is_dropped_once_its_last_sample_is_stale(fake):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    fake.scrape("p2", NOW - 1, page("p2", {"200": 5}))
    fake.forget("p1", NOW)
    assert len((await source(fake, pod("p2")).look("green", NOW)).pods) == 2
    fake.now = NOW + 4.5
    fake.scrape("p2", NOW + 4, page("p2", {"200": 5}))
    seen = await source(fake, pod("p2")).look("green", NOW + 4.5)
    assert ([s.pod for s in seen.pods], seen.errors) == (["p2"], ())


async def test_a_process_that_was_replaced_shows_only_what_it_counted_itself(fake):
    fake.scrape("p1", NOW - 2, page("p1", {"200": 50, "500": 9}, started=1))
    fake.scrape("p1", NOW - 1, page("p1", {"200": 2}, started=NOW - 1.5))
    (sample,) = (await source(fake).look("green", NOW)).pods
    assert (sample.requests, sample.started_at) == ({"200": 2}, NOW - 1.5)


async def test_a_ready_pod_without_a_sample_is_unread(fake):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    seen = await source(fake, pod("p1"), pod("p2"), pod("p3", ready=False)).look("green", NOW)
    assert seen.unread == ("p2",)
    assert seen.errors == ("Prometheus has no sample of pod p2 that is younger than 5 s",)


@pytest.mark.parametrize("young", [pod("p2", started_at=NOW - 3), pod("p2", deleting=True)])
async def test_a_pod_that_comes_or_goes_is_given_time(fake, young):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    seen = await source(fake, pod("p1"), young).look("green", NOW)
    assert (seen.unread, seen.errors) == ((), ())


async def test_a_scrape_that_fails_leaves_the_last_page_until_it_is_stale(fake):
    fake.scrape("p1", NOW - 3, page("p1", {"200": 5}))
    fake.scrape("p1", NOW - 1, None)
    assert len((await source(fake, pod("p1")).look("green", NOW)).pods) == 1
    fake.now = NOW + 3
    fake.scrape("p1", NOW + 2, None)
    seen = await source(fake, pod("p1")).look("green", NOW + 3)
    assert (seen.pods, seen.unread) == ((), ("p1",))
    assert "Prometheus cannot scrape pod p1" in seen.errors


async def test_without_the_cluster_prometheus_own_targets_have_to_do(fake):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    fake.scrape("p2", NOW - 1, None)
    seen = await source(fake, silent=True).look("green", NOW)
    assert (len(seen.pods), seen.unread) == (1, ("p2",))


async def test_a_slot_without_a_series_is_an_error_that_names_the_question(fake):
    (sentence,) = (await source(fake).look("green", NOW)).errors
    assert "Prometheus knows no pod of slot green" in sentence
    assert 'version="green"' in sentence


async def test_warnings_are_errors_of_the_snapshot(fake):
    fake.warnings = ("one store did not answer",)
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    seen = await source(fake, pod("p1")).look("green", NOW)
    assert (len(seen.pods), seen.errors) == (1, ("Prometheus warns: one store did not answer",))


@pytest.mark.parametrize("answer", [httpx.Response(503), httpx.Response(200, text="<html>"), httpx.Response(401)])
async def test_a_prometheus_that_is_out_is_one_sentence_and_no_pod(answer):
    client = Prometheus(Access("http://127.0.0.1:9090"), transport=httpx.MockTransport(lambda _: answer))
    seen = await PrometheusSource(environment(), Pods(pod("p1")), client).look("green", NOW)
    assert (seen.pods, seen.unread, len(seen.errors)) == ((), (), 1)


async def test_a_vector_where_samples_are_expected_is_no_data():
    body = {"status": "success", "data": {"resultType": "vector", "result": []}}
    answer = httpx.Response(200, content=json.dumps(body))
    client = Prometheus(Access("http://127.0.0.1:9090"), transport=httpx.MockTransport(lambda _: answer))
    (sentence,) = (await PrometheusSource(environment(), Pods(), client).look("green", NOW)).errors
    assert "resultType vector" in sentence


@pytest.mark.parametrize(("skew", "told"), [(0.0, False), (2.4, False), (9.0, True), (-9.0, True)])
async def test_clocks_that_differ_more_than_samples_may_be_old_are_told(fake, skew, told):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    client = fake.client()
    client.skew_seconds = skew
    seen = await PrometheusSource(environment(), Pods(), client).look("green", NOW)
    assert any("clock of Prometheus" in sentence for sentence in seen.errors) == told


def named(**queries: str) -> SloRules:
    more = tuple(NamedRule(name=name, query=query, limit=1) for name, query in queries.items())
    return SloRules(source="prometheus", triggers=Triggers(more=more))


async def test_the_rules_own_queries_are_readings_beside_the_pods(fake):
    fake.scrape("p1", NOW - 1, page("p1", {"200": 5}))
    fake.readings["queue{green}"] = [{"metric": {}, "value": [NOW, "3"]}]
    fake.readings["empty"] = []
    env = environment().model_copy(update={"slo": named(queue="queue{$slot}", nothing="empty")})
    seen = await source(fake, env=env).look("green", NOW)
    assert [(one.rule, one.value) for one in seen.readings] == [
        ("triggers.more.queue", 3.0),
        ("triggers.more.nothing", None),
    ]
    assert (len(seen.pods), len(fake.asked)) == (1, 3)


async def test_where_prometheus_answers_only_queries_it_is_asked_only_these(fake):
    fake.readings["queue"] = [{"metric": {}, "value": [NOW, "3"]}]
    rules = named(queue="queue").model_copy(update={"source": "openmetrics"})
    seen = await source(fake, pod("p1"), env=environment().model_copy(update={"slo": rules})).look("green", NOW)
    assert (seen.pods, seen.errors, seen.unread) == ((), (), ())
    assert [one["query"] for one in fake.asked] == ["queue"]


async def test_the_time_between_scrapes_is_the_usual_one(fake):
    for at in (10, 25, 40, 70, 85):
        fake.scrape("p1", NOW - 100 + at, page("p1", {"200": 5}))
    assert await source(fake).scrape_seconds("green") == 15
    assert await source(FakePrometheus(now=NOW)).scrape_seconds("green") is None


async def test_growth_between_looks_is_exact_for_pods_that_are_born_and_replaced(fake):
    """Counted by hand: p1 grows by 5, p2 is born with 7, p3's process is replaced and counts 2 anew."""
    one = source(fake)
    fake.scrape("p1", NOW - 1, page("p1", {"200": 10}))
    fake.scrape("p3", NOW - 1, page("p3", {"200": 99}))
    before = await one.look("green", NOW)
    fake.now = NOW + 10
    fake.scrape("p1", NOW + 9, page("p1", {"200": 15}))
    fake.scrape("p2", NOW + 9, page("p2", {"200": 6, "500": 1}, started=NOW + 5))
    fake.scrape("p3", NOW + 9, page("p3", {"200": 2}, started=NOW + 3))
    stats = window_stats([before, await one.look("green", NOW + 10)])
    assert (stats.requests, stats.errors, stats.restarted) == (5 + 7 + 2, 1, ("p3",))


def test_a_rule_that_reads_prometheus_needs_a_connection(fake):
    assert set(open_sources(environment(), Pods(), fake.client())) == {"prometheus"}
    assert set(open_sources(environment(slo={}), Pods(), None)) == {"openmetrics"}
    with pytest.raises(MetricsRefused, match=r"connections\.prometheus"):
        open_sources(environment(), Pods(), None)
