"""A real Prometheus that scrapes pods of the cluster: what its source shows of a slot, and when nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from include.clients.kubernetes import Cluster
from include.clients.metrics.openmetrics import OpenMetricsSource
from include.clients.metrics.prometheus import PrometheusSource
from include.clients.prometheus import Access, Answer, Prometheus
from include.errors import MetricsError, MetricsRefused, MetricsUnreachable, MetricsUnusable, ProgramMissing
from include.plan.models import Environment
from include.plan.rules import Criteria, NamedRule, Rule, SloRules, Triggers, Watch
from include.sandbox.certificates import Authority
from include.sandbox.cluster import ClusterUnderTest
from include.sandbox.processes import free_port, wait_until
from include.sandbox.prometheus import PrometheusServer, Scraping
from include.slo.samples import Snapshot
from include.slo.source import Source
from include.slo.window import WindowStats, window_stats
from include.steps.metrics_check import check_metrics
from tests.contract.support import Kubectl, container, deployment, http_probe, service

APP = "watched"
LOGIN, PASSWORD = "puller", "open sesame"
# bcrypt of the password, as `htpasswd -B` writes it
HASH = "$2b$08$abcdefghijklmnopqrstuuvbcBqwD0vqGp5cw/xK4wy0Mtx9M8.Zy"
MORE = (
    "sse_connections_active 4;process_resident_memory_bytes 2e+08;process_cpu_seconds_total 1.5;broken_value NaN"
)
SCRAPE_SECONDS = 0.5
STALE_SECONDS = 3.5
SLOTS = ("blue", "green")

T = TypeVar("T")


def environment(kubectl: Kubectl, **slo: object) -> Environment:
    metrics = {"scrape_seconds": SCRAPE_SECONDS, **slo.pop("metrics", {})}  # type: ignore[dict-item]
    rules = SloRules.model_validate({"source": "prometheus", "metrics": metrics, **slo})
    return Environment.model_validate(
        {
            "name": "production",
            "application": APP,
            "namespace": kubectl.namespace,
            "chart": "chart",
            "helm_release": APP,
            "connections": {n: n for n in ("kubernetes", "ledger", "slack", "smtp", "prometheus")},
            "traffic": {
                "service": APP,
                "preview_service": f"{APP}-preview",
                "selector": {"contract/app.name": APP},
                "public_url": "http://127.0.0.1",
                "preview_url": "http://127.0.0.1",
            },
            "smoke": [{"name": "alive", "path": "/healthz"}],
            "gate": {"roles": {"lead": ["anna"], "owner": ["ben"]}},
            "messages": {
                "status_channel": "#status",
                "alerts_channel": "#alerts",
                "mail_from": "release@example.com",
                "stakeholders": [],
            },
        }
    ).model_copy(update={"slo": rules, "watch": Watch(stale_seconds=STALE_SECONDS)})


def labels(slot: str) -> dict[str, str]:
    return {"contract/app.name": APP, "version": slot}


def slot_deployment(slot: str, *, replicas: int) -> dict[str, object]:
    more = container(
        env={"VERSION": slot, "METRICS": "yes", "MORE_METRICS": MORE}, readinessProbe=http_probe("/readyz")
    )
    found = deployment(f"{APP}-{slot}", more, replicas=replicas)
    found["spec"]["selector"]["matchLabels"] = labels(slot)
    found["spec"]["template"]["metadata"]["labels"] = labels(slot)
    return found


@pytest.fixture(scope="module")
def slots(kubectl: Kubectl) -> Kubectl:
    """Blue with three pods behind the traffic Service, green with one behind the preview."""
    kubectl.apply(
        slot_deployment("blue", replicas=3),
        slot_deployment("green", replicas=1),
        service(APP, labels("blue")),
        service(f"{APP}-preview", labels("green")),
    )
    for slot in SLOTS:
        kubectl("rollout", "status", f"deployment/{APP}-{slot}", "--timeout=90s")
    return kubectl


@pytest.fixture(scope="module")
def server(
    slots: Kubectl, cluster: ClusterUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusServer]:
    """Prometheus without a login, scraping every half a second."""
    try:
        server = PrometheusServer(
            tmp_path_factory.mktemp("prometheus"), cluster, Scraping(slots.namespace, seconds=SCRAPE_SECONDS)
        )
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with server:
        wait_until(
            lambda: len(ask(server.url, 'up{version="blue"} == 1').series) == 3,
            deadline_seconds=40,
            what="Prometheus scrapes the pods",
            process=server.process,
        )
        yield server


def ask(url: str, query: str, **access: object) -> Answer:
    async def ask_once() -> Answer:
        client = Prometheus(Access(url, **access))  # type: ignore[arg-type]
        try:
            return await client.query(query)
        finally:
            await client.close()

    return asyncio.run(ask_once())


class World:
    """Both sources of one namespace, opened for each question."""

    def __init__(self, kubectl: Kubectl, url: str, environment: Environment) -> None:
        self.kubectl, self.url, self.environment = kubectl, url, environment

    def use(self, act: Callable[[PrometheusSource, OpenMetricsSource], Awaitable[T]]) -> T:
        async def opened() -> T:
            async with Cluster.from_kubeconfig(self.kubectl.kubeconfig, self.kubectl.namespace) as cluster:
                client = Prometheus(Access(self.url))
                try:
                    prometheus = PrometheusSource(self.environment, cluster, client)
                    return await act(prometheus, OpenMetricsSource(self.environment, cluster))
                finally:
                    await client.close()

        return asyncio.run(opened())

    def look(self, slot: str = "blue") -> Snapshot:
        return self.use(lambda prometheus, _: prometheus.look(slot, time.time()))  # type: ignore[arg-type]

    def until(self, holds: Callable[[Snapshot], object], what: str, *, slot: str = "blue") -> Snapshot:
        found: list[Snapshot] = []

        def seen() -> bool:
            found.append(self.look(slot))
            return bool(holds(found[-1]))

        wait_until(seen, deadline_seconds=40, what=f"{what}; last {found[-1:]}", poll_seconds=0.3)
        return found[-1]


@pytest.fixture
def world(slots: Kubectl, server: PrometheusServer) -> World:
    return World(slots, server.url, environment(slots))


@pytest.fixture
def url(slots: Kubectl, cluster: ClusterUnderTest) -> str:
    """Where users reach the active slot."""
    return f"http://{cluster.node_address}:{slots.node_port(APP)}"


def send(url: str, number: int, path: str = "/") -> None:
    for _ in range(number):
        httpx.get(url + path, timeout=5, trust_env=False)


def test_every_pod_of_the_slot_is_there_with_all_its_metrics(world: World, url: str) -> None:
    send(url, 6)
    snapshot = world.until(lambda one: total(one) >= 6, "the requests are counted")
    pods = {pod["metadata"]["name"] for pod in world.kubectl.items("pods", "-l", "version=blue")}
    assert {sample.pod for sample in snapshot.pods} == pods
    assert (snapshot.errors, snapshot.unread) == ((), ())
    for sample in snapshot.pods:
        assert (sample.sse_connections, sample.memory_bytes, sample.cpu_seconds) == (4, 2e8, 1.5)
        assert sample.started_at is not None
        assert sample.started_at < sample.taken_at <= snapshot.taken_at + 1
        assert snapshot.taken_at - sample.taken_at < STALE_SECONDS + SCRAPE_SECONDS
        assert [bound for bound, _ in sample.latency_buckets] == [0.05, 0.1, 0.5, 1.0, float("inf")]


def total(snapshot: Snapshot) -> float:
    return sum(sum(sample.requests.values()) for sample in snapshot.pods)


def test_only_the_slot_that_is_asked_for_counts(world: World, url: str) -> None:
    send(url, 4)
    assert [sample.pod for sample in world.look("green").pods] == [
        pod["metadata"]["name"] for pod in world.kubectl.items("pods", "-l", "version=green")
    ]
    assert total(world.look("green")) == 0


def test_the_same_traffic_is_the_same_through_both_sources(world: World, url: str) -> None:
    """Scripted: 30 good, 10 failed and 5 slow answers between two looks, with time for a last scrape."""

    def looks() -> dict[str, Snapshot]:
        async def both(*sources: Source) -> dict[str, Snapshot]:
            now = time.time()
            return {source.name: await source.look("blue", now) for source in sources}

        return world.use(both)

    settle(world)
    before = looks()
    send(url, 30)
    send(url, 10, "/?status=500")
    send(url, 5, "/?seconds=0.2")
    settle(world)
    after = looks()
    stats = {name: window_stats([before[name], after[name]]) for name in before}
    assert facts(stats["prometheus"]) == facts(stats["openmetrics"])
    assert (stats["prometheus"].requests, stats["prometheus"].errors) == (45, 10)
    assert stats["prometheus"].latency[1][1] == 40, "five were slower than 0.1 s"


def settle(world: World) -> None:
    """Wait until Prometheus has scraped every pod after this moment."""
    now = time.time()
    world.until(lambda one: len(one.pods) == 3 and all(p.taken_at > now for p in one.pods), "a scrape of each pod")


def facts(stats: WindowStats) -> tuple[object, ...]:
    return stats.requests, stats.errors, stats.latency, stats.pods, stats.memory_bytes, stats.sse_connections


def test_a_process_that_is_killed_is_a_restart_and_its_last_counts_are_not_added_to_the_new_ones(
    world: World, url: str
) -> None:
    send(url, 12)
    settle(world)
    before = world.look()
    (name,) = {max(before.pods, key=lambda sample: sum(sample.requests.values())).pod}
    address = f"pods/{name}:8080/proxy/exit?code=3"
    world.kubectl("get", "--raw", f"/api/v1/namespaces/{world.kubectl.namespace}/{address}", ok=True)
    old = next(sample for sample in before.pods if sample.pod == name)

    def replaced(one: Snapshot) -> bool:
        return any(s.pod == name and s.started_at != old.started_at for s in one.pods)

    after = world.until(replaced, "the new process is scraped")
    new = next(sample for sample in after.pods if sample.pod == name)
    assert sum(new.requests.values()) < sum(old.requests.values())
    stats = window_stats([before, after])
    assert stats.restarted == (name,)
    assert stats.requests == 0, "nothing was sent in between, and nothing is counted twice"
    history = world.use(lambda source, _: source.history("blue", before.taken_at - 5, after.taken_at))
    assert window_stats(history).requests >= 0
    assert {s.started_at for one in history for s in one.pods if s.pod == name} >= {old.started_at, new.started_at}


def test_a_pod_that_is_gone_disappears_once_its_last_sample_is_stale_and_its_successor_is_another_pod(
    world: World,
) -> None:
    before = world.until(lambda one: len(one.pods) == 3 and not one.errors, "three pods")
    gone = before.pods[0].pod
    world.kubectl("delete", "pod", gone, "--wait=true")
    after = world.until(
        lambda one: len(one.pods) == 3 and gone not in {s.pod for s in one.pods} and not one.errors,
        "the successor is scraped and the old pod forgotten",
    )
    assert {s.pod_uid for s in after.pods} - {s.pod_uid for s in before.pods}
    assert all(after.taken_at - s.taken_at < STALE_SECONDS + 1 for s in after.pods)


def test_a_ready_pod_that_cannot_be_scraped_is_unread_and_no_silence(world: World, sandbox: object) -> None:
    """Its process is stopped: it holds its place behind the Service for a while, and shows nothing."""
    snapshot = world.until(lambda one: len(one.pods) == 1, "green is scraped", slot="green")
    name = snapshot.pods[0].pod
    about = world.kubectl("get", "--raw", f"/api/v1/namespaces/{world.kubectl.namespace}/pods/{name}:8080/proxy/")
    pid = json.loads(about)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = world.until(lambda one: one.unread == (name,), "the silent pod is unread", slot="green")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found.pods == ()
    assert any(name in sentence for sentence in found.errors)
    world.until(lambda one: len(one.pods) == 1 and not one.errors, "green is scraped again", slot="green")


def test_a_slot_that_prometheus_does_not_know_is_an_error_and_no_value(
    slots: Kubectl, server: PrometheusServer
) -> None:
    elsewhere = environment(slots, metrics={"labels": {"job": "elsewhere"}})
    # A pod that has just come up is not missed yet, and the tests before this one replace some.
    snapshot = World(slots, server.url, elsewhere).until(lambda one: len(one.unread) == 3, "all three are missed")
    assert snapshot.pods == ()
    assert all("Prometheus has no sample of pod" in sentence for sentence in snapshot.errors)


QUERIES = {
    "good": 'sum(rate(http_requests_total{version="$slot",namespace="$namespace"}[$window])) + 1',
    "chosen": "max(process_resident_memory_bytes{$selector})",
    "scalar": "scalar(vector(7))",
    "nothing": "no_such_metric{$selector}",
    "broken": "broken_value{$selector}",
    "many": '{__name__=~".+",namespace="$namespace"}',
    "ranges": "http_requests_total{$selector}[10s]",
    "words": '"text"',
    "wrong": "sum(http_requests_total{$selector}",
}


def test_the_rules_own_queries(slots: Kubectl, server: PrometheusServer) -> None:
    more = tuple(NamedRule(name=name, query=query, limit=1) for name, query in QUERIES.items())
    own = environment(slots).model_copy(
        update={"slo": SloRules(source="prometheus", triggers=Triggers(more=more), criteria=Criteria(pods=False))}
    )
    snapshot = World(slots, server.url, own).look()
    found = {reading.rule.rpartition(".")[2]: reading for reading in snapshot.readings}
    assert found["good"].value is not None
    assert found["good"].value >= 1
    assert (found["chosen"].value, found["scalar"].value) == (2e8, 7)
    assert abs(found["good"].taken_at - snapshot.taken_at) < 5
    problems = {name: one.problem for name, one in found.items() if one.value is None}
    assert problems["nothing"] == "the query gives nothing"
    assert "nan" in problems["broken"]
    assert "more than 50" in problems["many"]
    assert "matrix" in problems["ranges"]
    assert "string" in problems["words"]
    assert "bad_data" in problems["wrong"]
    assert snapshot.errors == ()


def test_a_rule_with_a_query_alone_reads_no_pods(slots: Kubectl, server: PrometheusServer) -> None:
    rule = Rule(limit=1, query="vector(3)")
    slo = SloRules(triggers=Triggers(error_rate=rule.model_copy(update={"limit": 0.5})))
    snapshot = World(slots, server.url, environment(slots).model_copy(update={"slo": slo})).look()
    assert (snapshot.pods, snapshot.errors) == ((), ())
    assert [one.value for one in snapshot.readings] == [3]


def test_the_usual_time_between_two_scrapes(world: World) -> None:
    seconds = world.use(lambda source, _: source.scrape_seconds("blue"))
    assert seconds == pytest.approx(0.5, abs=0.1)


def test_history_says_the_same_as_looking_all_the_time(world: World, url: str) -> None:
    settle(world)
    looks = [world.look()]
    for _ in range(4):
        send(url, 5)
        send(url, 2, "/?status=503")
        settle(world)
        looks.append(world.look())
    history = world.use(lambda source, _: source.history("blue", looks[0].taken_at, looks[-1].taken_at))
    assert [one.taken_at for one in history] == sorted(one.taken_at for one in history)
    assert facts(window_stats(history)) == facts(window_stats(looks))
    assert window_stats(history).errors == 8


def test_the_dry_check_finds_the_one_rule_without_data(slots: Kubectl, server: PrometheusServer, url: str) -> None:
    criteria = {"memory_bytes": 1e9, "cpu_ratio": 0.5, "sse_connections": 1, "memory_growth_ratio": 0.1}
    more = [{"name": "queue", "limit": 1, "query": "max(no_such_queue{$selector})"}]
    env = environment(slots, criteria={**criteria, "more": more})
    env = env.model_copy(update={"traffic": env.traffic.model_copy(update={"public_url": url})})
    send(url, 9)
    both = World(slots, server.url, env)

    async def check(prometheus: PrometheusSource, openmetrics: OpenMetricsSource) -> list[str]:
        found = await check_metrics(env, {"prometheus": prometheus, "openmetrics": openmetrics}, "blue")
        return [f"{one.object}: {one.what}" for one in found]

    (only,) = both.use(check)
    assert only.startswith(
        "slo.criteria.more.queue: prometheus: the query 'max(no_such_queue{$selector})' has no answer"
    )


def test_too_many_series_are_refused_by_number(server: PrometheusServer) -> None:
    async def asked() -> None:
        client = Prometheus(Access(server.url))
        try:
            with pytest.raises(MetricsUnusable, match="at most 2"):
                await client.query("up", most_series=2)
        finally:
            await client.close()

    asyncio.run(asked())


@pytest.fixture(scope="module")
def guarded(
    slots: Kubectl, cluster: ClusterUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PrometheusServer, Path]]:
    """Prometheus with a login, behind TLS; and the certificate of who vouches for it."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "authority")
    pair = authority.issue("server", "prometheus", names=["127.0.0.1"])
    web = {
        "tls_server_config": {"cert_file": str(pair.certificate), "key_file": str(pair.key)},
        "basic_auth_users": {LOGIN: HASH},
    }
    try:
        server = PrometheusServer(folder / "prometheus", cluster, Scraping(slots.namespace, web=web))
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server, authority.pair.certificate


def test_a_login_over_tls_with_a_certificate_of_ones_own(guarded: tuple[PrometheusServer, Path]) -> None:
    server, ca_file = guarded
    answer = ask(server.url, "vector(1)", login=LOGIN, secret=PASSWORD, ca_file=str(ca_file))
    assert [series.samples[-1][1] for series in answer.series] == [1]
    unchecked = ask(server.url, "vector(1)", login=LOGIN, secret=PASSWORD, verify=False)
    assert unchecked.series


@pytest.mark.parametrize(
    "credentials",
    [{}, {"login": LOGIN, "secret": "wrong"}, {"secret": "a token it does not know"}],
    ids=["none", "wrong password", "token"],
)
def test_wrong_credentials_are_refused_and_not_repeated(
    guarded: tuple[PrometheusServer, Path], credentials: dict[str, str]
) -> None:
    server, ca_file = guarded
    with pytest.raises(MetricsRefused, match="credentials") as refused:
        ask(server.url, "vector(1)", ca_file=str(ca_file), **credentials)
    assert not [word for word in credentials.values() if word in str(refused.value)]


def test_an_unknown_certificate_is_named_as_the_reason(guarded: tuple[PrometheusServer, Path]) -> None:
    server, _ = guarded
    with pytest.raises(MetricsUnreachable, match="certificate not accepted"):
        ask(server.url, "vector(1)", login=LOGIN, secret=PASSWORD)


def test_a_prometheus_that_is_down_or_restarts_is_an_error_in_the_snapshot_and_then_over(
    slots: Kubectl, cluster: ClusterUnderTest, tmp_path: Path
) -> None:
    try:
        server = PrometheusServer(tmp_path, cluster, Scraping(slots.namespace))
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    world = World(slots, server.url, environment(slots))
    (sentence,) = world.look().errors
    assert "does not answer" in sentence
    for _ in range(2):
        with server:
            whole = world.until(lambda one: len(one.pods) == 3 and not one.errors, "it scrapes")
        assert whole.unread == ()
        assert world.look().pods == ()


@contextmanager
def stalled() -> Iterator[str]:
    """A server that takes the connection and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class SignIn(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = b"<html><title>Sign in</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def sign_in_page() -> Iterator[str]:
    """A page in front of Prometheus."""
    with HTTPServer(("127.0.0.1", 0), SignIn) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def dead() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("where", "kind", "words"),
    [
        (stalled, MetricsUnreachable, "no answer within 0.5 s"),
        (sign_in_page, MetricsUnusable, "Sign in"),
        (dead, MetricsUnreachable, "no connection"),
    ],
)
def test_what_is_no_prometheus(where: Callable[[], object], kind: type[MetricsError], words: str) -> None:
    with where() as url, pytest.raises(kind, match=words):  # type: ignore[attr-defined]
        ask(url, "vector(1)", timeout_seconds=SCRAPE_SECONDS)


def test_a_source_without_an_answer_never_raises(slots: Kubectl) -> None:
    for where in (stalled, sign_in_page, dead):
        with where() as url:
            world = World(slots, url, environment(slots))
            world.use(lambda source, _: _looks_empty(source))


async def _looks_empty(source: PrometheusSource) -> None:
    source._prometheus.access = replace(source._prometheus.access, timeout_seconds=SCRAPE_SECONDS)
    snapshot = await source.look("blue", time.time())
    assert snapshot.pods == ()
    assert len(snapshot.errors) == 1
