"""The whole embedded environment (cluster, database, application, sinks, Airflow) as one context manager."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import string
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType

from include.ledger.migrate import migrate
from include.plan.loader import load_plan
from include.plan.models import Environment
from include.sandbox.account import create_account
from include.sandbox.airflow import AirflowRuntime
from include.sandbox.airflow_environment import DECIDERS, AuthManager, accounts
from include.sandbox.cluster import ClusterUnderTest, open_cluster
from include.sandbox.erp.build import build_images
from include.sandbox.erp.migrate import link_trees, migrate_erp
from include.sandbox.external_cluster import ExternalCluster
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.sandbox.postgres_roles import allow_copies
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.programs import program
from include.sandbox.prometheus import NOWHERE, PrometheusServer, Scraping
from include.sandbox.settings import load_settings
from include.sandbox.world import (
    FIRST_VERSION,
    Addresses,
    create_namespace,
    create_world,
    environment_of,
    install_first_version,
    remove_namespace,
)

REPOSITORY = Path(__file__).parents[2]
PLAN_TEMPLATE = Path(__file__).parent / "plan"
CHART = REPOSITORY / "include" / "charts" / "valeo-erp"
#: A window begins with the migration and is polled from when its task runs: most of it has to be left then.
MIGRATION_WATCH_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What differs between the demo, ``make up`` and the tests.

    :param state: folder for everything that is written
    :param namespace: of the application; on somebody else's cluster it is created and removed again
    :param watch_seconds: length of the watch after cutover
    :param gate_seconds: how long a gate waits for an answer
    :param port: of Airflow's web server; None picks a free one
    :param scrape_seconds: how often a Prometheus scrapes the application, which the rules then read; None for none
    :param extra_plan: further folder laid over the sandbox's plan (``releases/``, ``environments/``)
    :param auth_manager: Airflow's; who knows the users
    :param variables: further environment variables of Airflow's processes; they win
    """

    state: Path
    namespace: str = "production"
    watch_seconds: float = 30
    gate_seconds: float = 600
    port: int | None = None
    scrape_seconds: float | None = None
    extra_plan: Path | None = None
    extra_dags: Path | None = None
    auth_manager: AuthManager = "simple"
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_state(self, state: Path) -> Options:
        """Return the same options with another state folder."""
        return replace(self, state=state)


class Sandbox:
    """Everything a release needs, as a context manager.

    :param say: called with a line for each thing that has come up
    """

    def __init__(self, options: Options, *, say: Callable[[str], None] | None = None) -> None:
        self.options = options
        self._say = say or _print
        self._stack = ExitStack()
        self._began = time.monotonic()
        self.cluster: ClusterUnderTest
        self.postgres: Postgres
        self.airflow: AirflowRuntime
        self.addresses: Addresses
        self.account = options.state / "stellwerk.kubeconfig"
        self.plan_folder = options.state / "plan"
        self.inbox = options.state / "inbox"
        self.prometheus: PrometheusServer | None = None
        self.identity_port = free_port()
        self.identity: Process

    def __enter__(self) -> Sandbox:
        try:
            self._up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _up(self) -> None:
        options = self.options
        # Always from the beginning: what an earlier sandbox left would be somebody else's starting point.
        shutil.rmtree(options.state, ignore_errors=True)
        options.state.mkdir(parents=True)
        self.cluster = self._stack.enter_context(open_cluster(options.state / "cluster"))
        self._tell("Kubernetes is ready")
        self.postgres = Postgres(options.state / "postgres", host_address=os.environ.get("STELLWERK_HOST_ADDRESS"))
        self.postgres.start()
        self._stack.callback(self.postgres.remove)
        migrate(
            self.postgres.url("stellwerk", SUPERUSER),
            role="stellwerk_append",
            password=self.postgres.password("stellwerk_append"),
        )
        self._tell("PostgreSQL is ready")
        self._application()
        self._metrics()
        self._sinks()
        self._airflow()

    def _application(self) -> None:
        options, cluster = self.options, self.cluster
        build_images(cluster.import_image)
        # As the old version left it: what 3.0.0 brings is db-migration's to apply.
        migrate_erp(self.postgres.url("valeo_erp"), version=FIRST_VERSION)
        allow_copies(self.postgres.url("postgres", SUPERUSER), "valeo_erp")
        link_trees(options.state / "trees")
        database = self.postgres.url("valeo_erp", host=cluster.host_address)
        if isinstance(cluster, ExternalCluster):
            create_namespace(cluster.kubeconfig, options.namespace)
            self._stack.callback(remove_namespace, cluster.kubeconfig, options.namespace)
        self.addresses = create_world(cluster.kubeconfig, options.namespace, database, cluster.node_address)
        create_account(cluster.kubeconfig, options.namespace, self.account)
        self.render_plan(self.plan_folder, self.options.auth_manager)
        asyncio.run(install_first_version(cluster.kubeconfig, self.environment, CHART))
        self._tell(f"the demo ERP 2.9.0 serves at {self.addresses.public_url}")

    def _metrics(self) -> None:
        options = self.options
        if options.scrape_seconds is None:
            return
        scraping = Scraping(options.namespace, options.scrape_seconds)
        self.prometheus = PrometheusServer(options.state / "prometheus", self.cluster, scraping)
        self._stack.enter_context(self.prometheus)
        self._tell(f"Prometheus scrapes every {options.scrape_seconds:g} s and answers at {self.prometheus.url}")

    def render_plan(self, folder: Path, auth_manager: AuthManager) -> None:
        """Write the sandbox's plan with what only this sandbox knows.

        :param auth_manager: of the Airflow that reads it, which knows people by accounts of its own
        """
        known = accounts(auth_manager)
        values = {
            "NAMESPACE": self.options.namespace,
            "CHART": str(CHART),
            "PUBLIC_URL": self.addresses.public_url,
            "PREVIEW_URL": self.addresses.preview_url,
            "IDENTITY_URL": f"http://127.0.0.1:{self.identity_port}",
            "WATCH_SECONDS": str(self.options.watch_seconds),
            "MIGRATION_WATCH_SECONDS": str(max(MIGRATION_WATCH_SECONDS, self.options.watch_seconds)),
            "GATE_SECONDS": str(self.options.gate_seconds),
            "METRICS_SOURCE": "openmetrics" if self.options.scrape_seconds is None else "prometheus",
            "SCRAPE_SECONDS": str(self.options.scrape_seconds or 1.0),
            "BACKUPS_URL": (self.options.state / "backups").absolute().as_uri(),
            "PG_CLIENTS": str(installed_postgres() / "bin"),
            "ERP_TREES": str((self.options.state / "trees").absolute()),
            "PYTHON": sys.executable,
            "ACCOUNTS": json.dumps({user: known[user] for user in DECIDERS if user in known}),
        }
        for template in filter(None, (PLAN_TEMPLATE, self.options.extra_plan)):
            for file in sorted(template.rglob("*.yaml")):
                target = folder / file.relative_to(template)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(string.Template(file.read_text()).substitute(values))

    @property
    def environment(self) -> Environment:
        """The sandbox's production, as its plan says now."""
        return environment_of(load_plan(self.plan_folder))

    def _sinks(self) -> None:
        token_file = self.options.state / "slack-token"
        token_file.touch(mode=0o600)
        token_file.write_text(f"xoxb-{secrets.token_hex(16)}")
        self.slack_port, self.smtp_port = free_port(), free_port()
        common = ["--inbox", str(self.inbox)]
        self._process("slack", ["--port", str(self.slack_port), "--token-file", str(token_file), *common])
        self._process("smtp", ["--port", str(self.smtp_port), *common])
        self.identity = self._process("identity", ["--port", str(self.identity_port)])
        ports = {"slack": self.slack_port, "smtp": self.smtp_port, "identity": self.identity_port}
        for name, port in ports.items():
            wait_until(partial(_listens, port), deadline_seconds=20, what=f"{name} stand-in")
        self.slack_token = token_file.read_text()

    def _process(self, name: str, arguments: list[str]) -> Process:
        process = Process(
            name,
            [sys.executable, "-m", f"include.sandbox.{name}", *arguments],
            cwd=REPOSITORY,
            log=self.options.state / "logs" / f"{name}.log",
        )
        process.start()
        self._stack.callback(process.stop)
        return process

    def airflow_at(
        self, state: Path, database_url: str, plan: Path, *, auth_manager: AuthManager, port: int | None = None
    ) -> AirflowRuntime:
        """An Airflow, not started, that works on this sandbox.

        :param database_url: of its metadata
        :param plan: folder of the plan it reads
        """
        settings = load_settings(
            {
                "KUBECONFIG_PATH": str(self.account),
                "HEADS_URL": (self.options.state / "ledger-heads").absolute().as_uri(),
                "PROMETHEUS_URL": self.prometheus.url if self.prometheus else NOWHERE,
                "ERP_URL": self.postgres.url("valeo_erp"),
                "LEDGER_URL": self.postgres.url("stellwerk", "stellwerk_append"),
                "SLACK_TOKEN": self.slack_token,
                "SLACK_URL": f"http://127.0.0.1:{self.slack_port}/api/",
                "REPORTS_URL": (self.options.state / "reports").absolute().as_uri(),
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self.smtp_port),
            }
        )
        extra = {"extra": self.options.extra_dags} if self.options.extra_dags else None
        return AirflowRuntime(
            state,
            database_url=database_url,
            settings=settings,
            variables={
                "STELLWERK_PLAN": str(plan),
                "STELLWERK_HELM": str(program("helm")),
                **self.options.variables,
            },
            dag_folders=extra,
            port=port,
            auth_manager=auth_manager,
        )

    def _airflow(self) -> None:
        options, database_url = self.options, self.postgres.url("airflow", driver="psycopg")
        self.airflow = self.airflow_at(
            options.state / "airflow",
            database_url,
            self.plan_folder,
            auth_manager=options.auth_manager,
            port=options.port,
        )
        self.airflow.start()
        self._stack.callback(self.airflow.stop)
        self._tell(f"Airflow is ready at {self.airflow.url}")

    def _tell(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {line}")


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _print(line: str) -> None:
    print(line, flush=True)
