"""The dry check of the rules: what has no data is named before the release, all of it at once."""

from __future__ import annotations

import asyncio
import math
import ssl
from datetime import timedelta

import pytest

from include.chart.finding import accepted, failed
from include.clients import prober
from include.errors import MetricsUnreachable
from include.plan.rules import Criteria, Metrics, NamedRule, SloRules, Triggers
from include.sandbox import certificates
from include.slo.samples import PodSample, Reading, Snapshot
from include.steps import metrics_check
from include.steps.metrics_check import check_metrics, interval_findings, rule_findings, source_findings
from tests.unit.clients.metrics.scraping import environment

WHOLE = PodSample(
    "u1",
    "p1",
    1.0,
    started_at=0.5,
    requests={"200": 1},
    latency_buckets=((0.1, 1), (math.inf, 1)),
    sse_connections=0,
    memory_bytes=1e6,
    cpu_seconds=1,
)
EVERYTHING = SloRules.model_validate(
    {
        "source": "prometheus",
        "criteria": {
            "memory_bytes": 1e9,
            "memory_growth_ratio": 0.1,
            "cpu_ratio": 0.5,
            "sse_connections": 100,
            "sse_reconnect_ratio": 0.1,
        },
    }
)


def seen(*pods: PodSample, **more) -> Snapshot:
    return Snapshot(1.0, "blue", pods, **more)


def findings(snapshot: Snapshot, slo: SloRules = EVERYTHING):
    env = environment().model_copy(update={"slo": slo})
    return rule_findings(env, dict.fromkeys(slo.sources, snapshot))


def test_rules_with_data_are_no_finding():
    assert findings(seen(WHOLE)) == []
    assert findings(seen(PodSample("u2", "p2", 1.0), WHOLE)) == [], "one pod that shows it is enough"


@pytest.mark.parametrize("name", [name for name, _ in EVERYTHING.named()])
def test_each_rule_without_data_is_found_by_its_name_with_what_was_asked_and_the_remedy(name):
    found = {one.object: one for one in findings(seen(PodSample("u1", "p1", 1.0)))}
    assert set(found) == {f"slo.{rule}" for rule, _ in EVERYTHING.named()}
    one = found[f"slo.{name}"]
    assert one.severity == "block"
    assert "1 pod(s) of slot blue were read, and none shows it" in one.what
    assert "slo.metrics" in one.remedy


def test_what_the_source_said_is_told():
    (first, *_) = findings(seen(errors=("Prometheus does not accept the credentials",)))
    assert "prometheus: no http_requests_total: Prometheus does not accept the credentials" in first.what


def test_a_histogram_with_one_bucket_tells_no_time():
    bare = PodSample("u1", "p1", 1.0, requests={"200": 1}, latency_buckets=((math.inf, 1),))
    assert {one.object for one in findings(seen(bare), SloRules())} == {
        "slo.triggers.p95_seconds",
        "slo.criteria.p95_seconds",
    }


def test_a_query_without_an_answer_is_found_with_the_query():
    rule = NamedRule(name="queue", limit=1, query="max(\n  queue)")
    slo = SloRules(triggers=Triggers(more=(rule,)), criteria=Criteria())
    empty = Reading("triggers.more.queue", 1.0, problem="the query gives nothing")
    (one,) = findings(seen(WHOLE, readings=(empty,)), slo)
    assert one.object == "slo.triggers.more.queue"
    assert "the query 'max( queue)' has no answer for slot blue: the query gives nothing" in one.what
    assert findings(seen(WHOLE, readings=(Reading("triggers.more.queue", 1.0, 0.0),)), slo) == []
    (unasked,) = findings(seen(WHOLE), slo)
    assert "it was not asked" in unasked.what


def test_the_environment_may_accept_a_rule_that_only_the_new_version_can_answer():
    found = findings(seen(PodSample("u1", "p1", 1.0)), SloRules())
    reasons = {one.object: "2.9.0 has no such metric" for one in found}
    assert failed(accepted(found, reasons)) is None
    assert failed(found) is not None


def test_what_a_source_could_not_show_is_a_warning_and_missing_labels_stop():
    env = environment()
    (warning,) = source_findings(env, "prometheus", seen(WHOLE, errors=("pod p2 is silent",)))
    assert (warning.severity, "pod p2 is silent" in warning.what) == ("warn", True)
    unlabelled = PodSample("u1", "p1", 1.0, requests={"": 4})
    (blocking,) = source_findings(env, "prometheus", seen(unlabelled))
    assert (blocking.severity, "without the label status" in blocking.what) == ("block", True)


@pytest.mark.parametrize(("seconds", "severities"), [(15, []), (18, []), (8, []), (20, ["block"]), (1, ["warn"])])
def test_the_plan_has_to_know_how_often_prometheus_scrapes(seconds, severities):
    found = interval_findings(Metrics(), seconds)
    assert [one.severity for one in found] == severities
    assert all(f"set it to {seconds}" in one.remedy for one in found)


class Answering:
    """A source that shows one snapshot after the other, the last one for ever."""

    name = "prometheus"

    def __init__(self, *snapshots: Snapshot, scraped: float | Exception | None = 15.0) -> None:
        self._snapshots, self._scraped = list(snapshots), scraped
        self.looks = 0

    async def look(self, slot, now):
        self.looks += 1
        return self._snapshots.pop(0) if len(self._snapshots) > 1 else self._snapshots[0]

    async def history(self, slot, since, until):
        return ()

    async def scrape_seconds(self, slot):
        if isinstance(self._scraped, Exception):
            raise self._scraped
        return self._scraped


@pytest.fixture
def impatient(monkeypatch):
    async def no_findings(_):
        return []

    monkeypatch.setattr(metrics_check, "public_findings", no_findings)
    monkeypatch.setattr(metrics_check, "_AGAIN_SECONDS", 0.0)


def check(source: Answering, slo: SloRules = EVERYTHING):
    env = environment().model_copy(update={"slo": slo})
    return asyncio.run(check_metrics(env, {"prometheus": source}, "blue"))


def test_the_first_scrape_is_waited_for(impatient):
    source = Answering(seen(), seen(), seen(WHOLE))
    assert check(source) == []
    assert source.looks == 3


def test_but_not_for_ever(impatient, monkeypatch):
    monkeypatch.setattr(metrics_check, "PATIENCE_SECONDS", -14.9)
    found = check(Answering(seen()))
    assert {one.rule for one in found} == {"rule-data"}
    assert len(found) == len(list(EVERYTHING.named()))


def test_an_interval_that_nobody_tells_is_at_most_a_warning(impatient):
    assert check(Answering(seen(WHOLE), scraped=None)) == []
    (one,) = check(Answering(seen(WHOLE), scraped=MetricsUnreachable("down")))
    assert one.severity == "warn"
    (late,) = check(Answering(seen(WHOLE), scraped=60.0))
    assert late.rule == "scrape-interval"


async def test_a_public_url_that_does_not_answer_stops_the_release():
    env = environment()
    traffic = env.traffic.model_copy(update={"public_url": "http://127.0.0.1:9"})
    (one,) = await metrics_check.public_findings(env.model_copy(update={"traffic": traffic}))
    assert (one.rule, one.severity) == ("prober", "block")
    assert "no connection" in one.what


async def test_an_expired_certificate_of_the_public_url_is_found_before_the_release(tmp_path, monkeypatch):
    authority = certificates.Authority(tmp_path)
    monkeypatch.setattr(certificates, "VALIDITY", timedelta(minutes=-1))
    pair = authority.issue("erp", "erp", names=["127.0.0.1"])
    trust = ssl.create_default_context(cafile=str(authority.pair.certificate))
    monkeypatch.setattr(prober, "_trust", lambda: trust)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        env = environment()
        traffic = env.traffic.model_copy(update={"public_url": url})
        (one,) = await metrics_check.public_findings(env.model_copy(update={"traffic": traffic}))
    assert one.severity == "block"
    assert "certificate not accepted: certificate has expired" in one.what
