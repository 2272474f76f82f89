"""A real Prometheus that discovers and scrapes the pods of a cluster, run as a process of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx

from include.sandbox.account import create_account
from include.sandbox.addresses import POD_NETWORK
from include.sandbox.cluster import ClusterUnderTest, SandboxCluster
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.programs import program

NOWHERE: Final = "http://127.0.0.1:9"
"""An address where nobody answers, for a sandbox without Prometheus: discard, which no system serves any more."""

_READY_SECONDS: Final = 30.0
_META: Final = "__meta_kubernetes"

Document = dict[str, Any]


@dataclass(frozen=True)
class Scraping:
    """What is scraped, and how.

    :param namespace: whose pods
    :param seconds: time between two scrapes
    :param port: name of the pods' port that serves ``/metrics``
    :param web: Prometheus' own web configuration: ``basic_auth_users``, ``tls_server_config``
    """

    namespace: str
    seconds: float = 1.0
    port: str = "http"
    web: Mapping[str, Any] = field(default_factory=dict)


class PrometheusServer:
    """Prometheus as a context manager; what it has stored survives a restart in the same state folder."""

    def __init__(self, state: Path, cluster: ClusterUnderTest, scraping: Scraping) -> None:
        self.state = state
        self.scraping = scraping
        self.port = free_port()
        self._cluster = cluster
        flags: dict[str, str | Path] = {
            "config.file": state / "prometheus.json",
            "storage.tsdb.path": state / "data",
            "storage.tsdb.retention.time": "1d",
            "web.listen-address": f"127.0.0.1:{self.port}",
            "log.level": "warn",
        }
        if scraping.web:
            flags["web.config.file"] = state / "web.json"
        argv = [str(program("prometheus")), *(f"--{name}={value}" for name, value in flags.items())]
        self.process = Process("prometheus", argv, env={}, log=state / "prometheus.log")

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "https" if "tls_server_config" in self.scraping.web else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Write its configuration, give it an account, start it and wait until it answers.

        :raises SandboxError: it does not come up
        """
        self.state.mkdir(parents=True, exist_ok=True)
        kubeconfig = self.state / "prometheus.kubeconfig"
        if not kubeconfig.exists():
            namespace = self.scraping.namespace
            # Several may scrape one namespace, each with an account of its own.
            objects = account_objects(f"prometheus-{self.port}", namespace)
            create_account(self._cluster.kubeconfig, namespace, kubeconfig, objects=objects)
        # JSON is YAML, and nobody has to quote anything.
        embedded = isinstance(self._cluster, SandboxCluster)
        configuration = configured(self.scraping, kubeconfig, embedded=embedded)
        (self.state / "prometheus.json").write_text(json.dumps(configuration, indent=1))
        if self.scraping.web:
            (self.state / "web.json").write_text(json.dumps(self.scraping.web))
        self.process.start()
        try:
            wait_until(
                self._ready, deadline_seconds=_READY_SECONDS, what="Prometheus answers", process=self.process
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def _ready(self) -> bool:
        # Only whether it is there: who it is is its clients' business.
        answer = httpx.get(f"{self.url}/-/ready", timeout=2, verify=False, trust_env=False)
        return answer.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED)

    def __enter__(self) -> PrometheusServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def configured(scraping: Scraping, kubeconfig: Path, *, embedded: bool) -> Document:
    """Prometheus' configuration: every running pod's port of that name, with the pod's own labels.

    :param embedded: pods of the embedded cluster are reached at loopback addresses (``include.sandbox.addresses``)
    """
    every = f"{round(scraping.seconds * 1000)}ms"
    relabel: list[Document] = [
        {"source_labels": [f"{_META}_pod_container_port_name"], "regex": scraping.port, "action": "keep"},
        {"source_labels": [f"{_META}_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
        {"regex": f"{_META}_pod_label_(.+)", "action": "labelmap"},
        {"source_labels": [f"{_META}_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_META}_pod_name"], "target_label": "pod"},
    ]
    if embedded:
        first, second, _, _ = str(POD_NETWORK.network_address).split(".")
        address = {
            "source_labels": ["__address__"],
            "regex": rf"{first}\.{second}\.(\d+\.\d+:\d+)",
            "target_label": "__address__",
            "replacement": f"127.{second}.$1",
        }
        relabel.append(address)
    discovery = {
        "role": "pod",
        "kubeconfig_file": str(kubeconfig),
        "namespaces": {"names": [scraping.namespace]},
    }
    job = {"job_name": "pods", "kubernetes_sd_configs": [discovery], "relabel_configs": relabel}
    return {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": [job]}


def account_objects(name: str, namespace: str) -> list[Document]:
    """The account under which Prometheus looks for pods: it may read them, and nothing else."""
    metadata = {"name": name, "namespace": namespace}
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    ]
