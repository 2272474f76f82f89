"""The watch over real pods of the demo ERP, each with one of its faults, under the load of a few users."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from include.bluegreen.slots import active_slot
from include.clients import prober
from include.clients.kubernetes import Cluster
from include.clients.metrics import open_sources
from include.clients.traffic import claim, switch
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment, SmokeCheck, Traffic
from include.plan.prober import Prober
from include.plan.rules import Criteria, Rule, SloRules, Triggers, Watch
from include.sandbox.cluster import ClusterUnderTest, SandboxCluster
from include.sandbox.erp.build import build_images
from include.sandbox.erp.migrate import migrate_erp
from include.sandbox.load.http import Connection, Lost, Target, compose
from include.sandbox.postgres import Postgres
from include.watch import WatchConfig, WatchOutcome, World, watch
from include.watch.baseline import take_baselines
from tests.contract.conftest import NodeUrl
from tests.contract.support import Document, Kubectl, deployment, http_probe, service

RELEASE = "3.0.0@production/r1"
ARTICLES = SmokeCheck(name="articles", path="/api/v1/articles", contains="articles", timeout_seconds=2.0)
PER_SECOND = 40


@pytest.fixture(scope="module")
def database(cluster: ClusterUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the ERP's database as its pods reach it."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), host_address=os.environ.get("STELLWERK_HOST_ADDRESS"))
    try:
        server.start()
        migrate_erp(server.url("valeo_erp"), "head", version="3.0.0")
        yield server.url("valeo_erp", host=cluster.host_address)
    finally:
        server.remove()


def erp(slot: str, version: str, database: str, **faults: object) -> Document:
    env = {"DATABASE_URL": database, "SLOT": slot, "DRAIN_SECONDS": "1", "FAULTS": json.dumps(faults)}
    container = {
        "name": "erp",
        "image": f"valeo-erp:{version}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": name, "value": value} for name, value in env.items()),
        ],
        "readinessProbe": http_probe("/readyz"),
    }
    one = deployment(f"erp-{slot}", container)
    for labels in (one["spec"]["selector"]["matchLabels"], one["spec"]["template"]["metadata"]["labels"]):
        labels.clear()
        labels.update({"app": "erp", "version": slot})
    return one


@pytest.fixture(scope="module")
def blue(cluster: ClusterUnderTest, kubectl: Kubectl, database: str) -> None:
    """The version that users had before."""
    build_images(cluster.import_image)
    kubectl.apply(erp("blue", "2.9.0", database))
    kubectl("rollout", "status", "deployment/erp-blue", "--timeout=90s")


def environment(kubectl: Kubectl, url: str) -> Environment:
    """Production with a window of some seconds."""
    base = load_plan(plan_folder()).environment("production")
    changes: dict[str, Any] = {
        "helm_release": "erp",
        "namespace": kubectl.namespace,
        "replicas": 2,
        "traffic": Traffic(
            service="erp",
            preview_service="erp-preview",
            selector={"app": "erp"},
            public_url=url,
            preview_url=url,
        ),
        "smoke": (ARTICLES,),
        "prober": Prober(every_seconds=1.0),
        "slo": SloRules(
            triggers=Triggers(error_rate=Rule(limit=0.05), p95_seconds=Rule(limit=1.0), down_seconds=6.0),
            criteria=Criteria(p95_seconds=Rule(limit=1.0)),
        ),
        "watch": Watch(
            seconds=20.0,
            window_seconds=5.0,
            lookback_seconds=20.0,
            min_requests=100,
            page_after_seconds=5.0,
            hold_seconds=60.0,
            unknown_limit_ratio=0.15,
        ),
        "drain": "leave",
    }
    return base.model_copy(update=changes)


@dataclass
class Users:
    """Some requests a second, each on a connection of its own."""

    target: Target
    statuses: list[int] = field(default_factory=list)

    async def ask(self) -> None:
        with contextlib.suppress(OSError, Lost, TimeoutError):
            async with asyncio.timeout(5):
                connection = await Connection.open(self.target)
                try:
                    answer = await connection.exchange(compose(self.target, "GET", ARTICLES.path, close=True))
                    self.statuses.append(answer.status)
                finally:
                    connection.close()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        async def send() -> None:
            async with asyncio.TaskGroup() as group:
                while True:
                    group.create_task(self.ask())
                    await asyncio.sleep(1 / PER_SECOND)

        sending = asyncio.create_task(send())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait({sending})


@dataclass
class Story:
    """One release: green with its faults, cut over, with users on it."""

    kubectl: Kubectl
    cluster: Cluster
    environment: Environment
    database: str

    async def cut_over(self, **faults: object) -> WatchConfig:
        """Bring green up and the traffic there."""
        await asyncio.to_thread(self._prepare, faults)
        traffic = self.environment.traffic
        await claim(self.cluster, traffic, RELEASE)
        await asyncio.sleep(2)  # kube-proxy may know endpoints later than the API server
        sources = open_sources(self.environment, self.cluster, None)
        baselines = (await take_baselines(sources, "green", time.time())).baselines
        done = await switch(
            self.cluster, traffic, target="green", release_id=RELEASE, by="test", reason="cutover",
            now=datetime.now(UTC),
        )  # fmt: skip
        at = done.at.timestamp()
        return WatchConfig(
            release_id=RELEASE,
            version="3.0.0",
            environment=self.environment,
            source="blue",
            target="green",
            cutover_at=at,
            began_at=at,
            deadline=at + self.environment.watch.seconds,
            baselines=baselines,
            may_switch_back=True,
        )

    def _prepare(self, faults: dict[str, object]) -> None:
        kubectl = self.kubectl
        kubectl("scale", "deployment/erp-blue", "--replicas=2")
        kubectl("delete", "deployment/erp-green", "--ignore-not-found", "--grace-period=1", "--wait=true")
        kubectl.until(lambda: not kubectl.items("pods", "-l", "version=green"), "green's pods are gone")
        for name, slot in (("erp", "blue"), ("erp-preview", "green")):
            changed = service(name, {"app": "erp", "version": slot})
            changed["metadata"]["annotations"] = {"stellwerk.io/release-id": "", "stellwerk.io/last-switch": ""}
            kubectl.apply(changed)
        kubectl("annotate", "service", "erp", "stellwerk.io/release-id-", "stellwerk.io/last-switch-")
        kubectl.apply(erp("green", "3.0.0", self.database, **faults))
        for slot in ("blue", "green"):
            kubectl("rollout", "status", f"deployment/erp-{slot}", "--timeout=90s")

    async def watch(self, config: WatchConfig) -> list[WatchOutcome]:
        """Watch to the end, through everything a human is merely told of."""
        world = World(self.cluster, open_sources(config.environment, self.cluster, None))
        outcomes = [await watch(config, world)]
        while outcomes[-1].result == "NOTICE":
            config = config.after(outcomes[-1])
            outcomes.append(await watch(config, world))
        return outcomes

    async def tell(self, **faults: object) -> WatchOutcome:
        """How a release with these faults ends while users are on it."""
        config = await self.cut_over(**faults)
        async with self.users().asking():
            return (await self.watch(config))[-1]

    def users(self) -> Users:
        return Users(Target.parse(self.environment.traffic.public_url))

    async def active(self) -> str:
        traffic = self.environment.traffic
        return active_slot(await self.cluster.service(traffic.service), traffic)


@pytest.fixture
async def story(blue: None, kubectl: Kubectl, node_url: NodeUrl, database: str) -> AsyncIterator[Story]:
    kubectl.apply(service("erp", {"app": "erp", "version": "blue"}))
    async with Cluster.from_kubeconfig(kubectl.kubeconfig, kubectl.namespace) as client:
        yield Story(kubectl, client, environment(kubectl, node_url("erp", "")), database)


async def test_a_healthy_version_passes(story: Story) -> None:
    outcome = await story.tell()
    assert outcome.result == "PASSED", outcome
    assert isinstance(requests := outcome.measures["requests"], int)
    assert requests > 200
    assert await story.active() == "green"


async def test_errors_under_load(story: Story) -> None:
    outcome = await story.tell(error_ratio={"value": 0.3, "after_requests": 80})
    assert outcome.result == "ROLLED_BACK", outcome
    assert "error rate" in outcome.sentence
    assert await story.active() == "blue"


async def test_slow_answers(story: Story) -> None:
    outcome = await story.tell(latency_seconds={"value": 1.6, "after_requests": 80})
    assert outcome.result == "ROLLED_BACK", outcome
    assert "P95" in outcome.sentence or "took longer" in outcome.sentence
    assert await story.active() == "blue"


async def test_pods_that_crash_again_and_again(story: Story) -> None:
    config = await story.cut_over(crash_after_seconds={"value": 0.1, "after_requests": 10})
    async with story.users().asking():
        outcome = (await story.watch(config))[-1]
        if outcome.result == "HELD":  # between its crashes it was never down for long enough
            outcome = (await story.watch(config.after(outcome)))[-1]
    assert outcome.result == "ROLLED_BACK", outcome
    assert await story.active() == "blue"


async def test_readiness_that_flaps_never_passes(story: Story) -> None:
    outcome = await story.tell(readiness_flap_seconds={"value": 2.0, "after_requests": 80})
    assert outcome.result == "HELD", outcome
    assert "ready" in outcome.sentence


async def test_healthy_but_wrong_is_found_by_the_content_and_switched_back(
    story: Story, node_url: NodeUrl
) -> None:
    config = await story.cut_over(wrong_data={"value": 1, "after_requests": 80})
    content = await fetched(story.environment.traffic.public_url)
    checked = ARTICLES.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    prober_settings = Prober(every_seconds=1.0, checks=(checked,))
    config = config.model_copy(
        update={"environment": config.environment.model_copy(update={"prober": prober_settings})}
    )
    async with story.users().asking():
        outcome = (await story.watch(config))[-1]
    assert outcome.result == "ROLLED_BACK", outcome
    assert "SHA-256" in outcome.sentence
    assert await story.active() == "blue"


async def test_an_expired_certificate_in_front_calls_a_human_and_moves_nothing(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = expired(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    prober._trust.cache_clear()
    try:
        config = await story.cut_over()
        async with terminated(certificate) as url, story.users().asking():
            traffic = story.environment.traffic.model_copy(update={"public_url": url})
            changed = config.environment.model_copy(update={"traffic": traffic})
            outcomes = await story.watch(config.model_copy(update={"environment": changed}))
    finally:
        prober._trust.cache_clear()
    assert [(one.result, one.pages) for one in outcomes] == [("NOTICE", ("prober",)), ("HELD", ("held",))], (
        outcomes
    )
    assert "certificate has expired" in outcomes[0].sentence
    assert await story.active() == "green"


async def test_an_old_slot_without_pods_blocks_until_it_has_some(story: Story) -> None:
    config = await story.cut_over(error_ratio={"value": 0.5, "after_requests": 40})
    await asyncio.to_thread(story.kubectl, "scale", "deployment/erp-blue", "--replicas=0")
    await asyncio.to_thread(
        story.kubectl.until, lambda: not story.kubectl.items("pods", "-l", "version=blue"), "gone"
    )
    async with story.users().asking():
        blocked = (await story.watch(config))[-1]
        assert blocked.result == "ROLLBACK_BLOCKED", blocked
        assert "no ready endpoint" in blocked.sentence
        assert await story.active() == "green"
        going_on = asyncio.create_task(story.watch(config.after(blocked)))
        await asyncio.to_thread(story.kubectl, "scale", "deployment/erp-blue", "--replicas=2")
        outcome = (await going_on)[-1]
    assert outcome.result == "ROLLED_BACK", outcome
    assert await story.active() == "blue"


async def test_an_api_server_that_dies_in_the_middle_is_waited_for(story: Story, sandbox: SandboxCluster) -> None:
    config = await story.cut_over(error_ratio={"value": 0.5, "after_requests": 120})
    async with story.users().asking():
        watching = asyncio.create_task(story.watch(config))
        await asyncio.sleep(1)
        await asyncio.to_thread(sandbox.control_plane.restart_api_server, away_seconds=6.0)
        outcome = (await watching)[-1]
    assert outcome.result == "ROLLED_BACK", outcome
    assert await story.active() == "blue"


async def test_two_watches_at_once_switch_once(story: Story) -> None:
    config = await story.cut_over(error_ratio={"value": 0.5, "after_requests": 80})
    async with story.users().asking():
        outcomes = await asyncio.gather(story.watch(config), story.watch(config))
    assert [one[-1].result for one in outcomes] == ["ROLLED_BACK", "ROLLED_BACK"]
    assert {one[-1].switched_at for one in outcomes} == {outcomes[0][-1].switched_at}, "one and the same switch"


async def fetched(url: str) -> bytes:
    target = Target.parse(url)
    connection = await Connection.open(target)
    try:
        answer = await connection.exchange(compose(target, "GET", ARTICLES.path, close=True))
        return answer.body
    finally:
        connection.close()


def expired(folder: Path) -> Path:
    """Certificate and key of localhost, in one file, of last year."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now - dt.timedelta(days=35))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "expired.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.asynccontextmanager
async def terminated(certificate: Path) -> AsyncIterator[str]:
    """An https URL behind which nobody comes who looks at the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
