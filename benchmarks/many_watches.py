"""One application under load, watched by many: a Service and a Lease for each watch, one slot behind them all."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from kubernetes import client, config

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.clients.kubernetes import Cluster
from include.plan.loader import load_plan, plan_folder
from include.plan.models import Environment, SmokeCheck, Traffic
from include.plan.prober import Prober
from include.plan.rules import Criteria, SloRules, SourceName, Watch
from include.plan.slots import Slot
from include.sandbox.cluster import ClusterUnderTest, open_cluster
from include.sandbox.environment import CHART, REPOSITORY
from include.sandbox.erp.build import build_images
from include.sandbox.erp.migrate import migrate_erp
from include.sandbox.postgres import Postgres
from include.sandbox.processes import Process
from include.sandbox.prometheus import PrometheusServer, Scraping
from include.sandbox.world import SECRET, Addresses, create_world, install_first_version
from include.slo.samples import Snapshot
from include.slo.source import Source
from include.watch import WatchConfig

PER_SECOND = 60
SCRAPE_SECONDS = 5.0


class Application:
    """Cluster, database, three pods of the demo ERP, Prometheus and users, as a context manager."""

    namespace = "production"
    poll_seconds: Mapping[SourceName, float] = {"prometheus": 15.0, "openmetrics": 1.0}

    def __init__(self, state: Path) -> None:
        self.state = state
        self._stack = ExitStack()
        self.addresses: Addresses
        self.kubeconfig: Path
        self.prometheus_url: str

    def __enter__(self) -> Application:
        try:
            shutil.rmtree(self.state, ignore_errors=True)
            self.state.mkdir(parents=True)
            cluster = self._stack.enter_context(open_cluster(self.state / "cluster"))
            self.kubeconfig = cluster.kubeconfig
            self._start(cluster)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, cluster: ClusterUnderTest) -> None:
        postgres = Postgres(self.state / "postgres")
        postgres.start()
        self._stack.callback(postgres.remove)
        migrate_erp(postgres.url("valeo_erp"), "head")
        build_images(cluster.import_image)
        database = postgres.url("valeo_erp", host=cluster.host_address)
        self.addresses = create_world(cluster.kubeconfig, self.namespace, database, cluster.node_address)
        asyncio.run(install_first_version(cluster.kubeconfig, self.environment("prometheus", "valeo-erp"), CHART))
        scraping = Scraping(self.namespace, seconds=SCRAPE_SECONDS)
        server = self._stack.enter_context(PrometheusServer(self.state / "prometheus", cluster, scraping))
        self.prometheus_url = server.url
        url, out = self.addresses.public_url, self.state / "load.ndjson"
        argv = [sys.executable, "-m", "include.sandbox.load", "--url", url, "--rate", str(PER_SECOND)]
        users = Process("users", [*argv, "--out", out], cwd=REPOSITORY, log=self.state / "users.log")
        users.start()
        self._stack.callback(users.stop)

    def environment(self, source: SourceName, name: str) -> Environment:
        """Production with a Service of its own, read by one source."""
        base = load_plan(plan_folder()).environment("production")
        poll = self.poll_seconds[source]
        settings = Watch(
            seconds=3600.0,
            poll_seconds=poll,
            window_seconds=max(10.0, 2 * poll),
            stale_seconds=max(5.0, 2 * poll),
        )
        rules = SloRules(source=source, criteria=Criteria(), metrics=base.slo.metrics)
        metrics = rules.metrics.model_copy(update={"scrape_seconds": SCRAPE_SECONDS})
        changes: dict[str, Any] = {
            "application": name,
            "namespace": self.namespace,
            "connections": base.connections.model_copy(update={"prometheus": "prometheus"}),
            "values": {"database": {"existingSecret": SECRET}},
            "traffic": Traffic(
                service=name,
                preview_service="valeo-erp-preview",
                selector={"app.kubernetes.io/name": "valeo-erp"},
                public_url=self.addresses.public_url,
                preview_url=self.addresses.preview_url,
            ),
            "smoke": (SmokeCheck(name="articles", path="/api/v1/articles", contains="articles"),),
            "prober": Prober(every_seconds=max(5.0, poll)),
            "slo": rules.model_copy(update={"metrics": metrics}),
            "watch": settings,
        }
        return base.model_copy(update=changes)


def config_of(application: Application, source: SourceName, number: int) -> WatchConfig:
    """One watch of the slot that takes the traffic; its window is longer than the measurement."""
    name = f"erp-{source}-{number}"
    now = time.time()
    return WatchConfig(
        release_id=f"2.9.0@production/{name}",
        version="2.9.0",
        environment=application.environment(source, name),
        source="green",
        target="blue",
        cutover_at=now,
        began_at=now,
        deadline=now + 3600,
        baselines={},
        may_switch_back=True,
    )


@asynccontextmanager
async def watched(
    application: Application, cluster: Cluster, configs: Sequence[WatchConfig]
) -> AsyncIterator[list[WatchConfig]]:
    """Give each watch the Service it is about."""
    await asyncio.to_thread(_create_services, application, configs)
    yield list(configs)


def _create_services(application: Application, configs: Sequence[WatchConfig]) -> None:
    with config.new_client_from_config(config_file=str(application.kubeconfig)) as api:
        core = client.CoreV1Api(api)
        for one in configs:
            at = datetime.fromtimestamp(one.cutover_at, UTC)
            moved = LastSwitch("blue", "benchmark", "cutover", at, one.release_id, "forward")
            annotations = {RELEASE_ID: one.release_id, LAST_SWITCH: moved.encode()}
            traffic = one.environment.traffic
            body = {
                "metadata": {"name": traffic.service, "annotations": annotations},
                "spec": {
                    "clusterIP": "None",  # without an address of its own: nobody connects to it
                    "selector": traffic.selector_for("blue"),
                    "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
                },
            }
            core.create_namespaced_service(application.namespace, body)


class Counting:
    """Counts the looks that sources were asked for, and those that failed."""

    def __init__(self) -> None:
        self.looks: Counter[SourceName] = Counter()
        self.failed = 0

    def begin(self) -> None:
        """Forget what was counted until now."""
        self.looks.clear()
        self.failed = 0

    def around(self, sources: Mapping[SourceName, Source]) -> dict[SourceName, Source]:
        """The same sources, counted."""
        return {name: _Counted(source, self) for name, source in sources.items()}


class _Counted:
    def __init__(self, source: Source, counting: Counting) -> None:
        self._source = source
        self._counting = counting

    @property
    def name(self) -> SourceName:
        return self._source.name

    async def look(self, slot: Slot, now: float) -> Snapshot:
        found = await self._source.look(slot, now)
        if slot == "blue":
            self._counting.looks[self.name] += 1
            if found.errors:
                self._counting.failed += 1
                if self._counting.failed <= 3:
                    print(f"{self.name}: {'; '.join(found.errors)}", flush=True)
        return found

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        return await self._source.history(slot, since, until)
