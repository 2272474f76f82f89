"""Prometheus with a scrape interval of the contender's, behind the proxy that can make it fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import httpx
import yaml

from benchmarks.peers.scenarios import Answers
from include.sandbox.environment import REPOSITORY
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.programs import program

READY_SECONDS: Final = 60.0


class Monitoring:
    """One address for all contenders; Prometheus behind it is started anew when the interval changes."""

    def __init__(self, kubeconfig: Path, state: Path) -> None:
        self._kubeconfig = kubeconfig
        self._state = state
        self._port = free_port()
        self._interval = 0.0
        self._prometheus: Process | None = None
        argv = [sys.executable, "-m", "benchmarks.peers.metrics_proxy", "--port", str(self._port)]
        self._proxy = Process("metrics-proxy", argv, cwd=REPOSITORY, log=state / "metrics-proxy.log")
        self._http = httpx.Client(base_url=self.url, timeout=5, trust_env=False)

    @property
    def url(self) -> str:
        """What everybody is told."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Monitoring:
        self._state.mkdir(parents=True, exist_ok=True)
        self._proxy.start()
        wait_until(
            lambda: self._http.put("/-/answers/pass").raise_for_status(),
            deadline_seconds=READY_SECONDS,
            what="the proxy before Prometheus",
            process=self._proxy,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        if self._prometheus is not None:
            self._prometheus.stop()
        self._proxy.stop()

    def answers(self, mode: Answers) -> None:
        """Change what everybody gets."""
        self._http.put(f"/-/answers/{mode}").raise_for_status()

    def scrape_every(self, seconds: float) -> None:
        """Have a Prometheus that scrapes this often; 0 for none."""
        if seconds == self._interval:
            return
        if self._prometheus is not None:
            self._prometheus.stop()
        self._interval, self._prometheus = seconds, None
        if seconds:
            self._start(seconds)

    def _start(self, seconds: float) -> None:
        port = free_port()
        folder = self._state / f"prometheus-{seconds:g}s"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(_config(self._kubeconfig, seconds)))
        argv = [str(program("prometheus")), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        self._prometheus = Process("prometheus", argv, log=folder / "prometheus.log")
        self._prometheus.start()
        upstream = f"http://127.0.0.1:{port}"
        wait_until(
            lambda: httpx.get(f"{upstream}/-/ready", trust_env=False).raise_for_status(),
            deadline_seconds=READY_SECONDS,
            what="Prometheus is ready",
            process=self._prometheus,
        )
        self._http.put("/-/upstream", params={"url": upstream}).raise_for_status()


def _config(kubeconfig: Path, seconds: float) -> dict[str, object]:
    interval = f"{seconds:g}s"
    relabel = [
        {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"},
        # What is 10.244.x.y in the API is served at 127.244.x.y (include/sandbox/addresses.py).
        {
            "source_labels": ["__address__"],
            "regex": r"10\.(.+)",
            "replacement": "127.$1",
            "target_label": "__address__",
        },
        {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [
            {
                "job_name": "erp",
                "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
                "relabel_configs": relabel,
            }
        ],
    }
