"""Prometheus with a contender's scrape interval, behind the proxy that can make it fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import httpx

from benchmarks.peers.scenarios import Answers
from include.sandbox.cluster import ClusterUnderTest
from include.sandbox.environment import REPOSITORY
from include.sandbox.processes import Process, free_port, wait_until
from include.sandbox.prometheus import PrometheusServer, Scraping

READY_SECONDS: Final = 60.0


class Monitoring:
    """One address for all contenders; behind it one Prometheus at a time, for the contender that is measured."""

    def __init__(self, cluster: ClusterUnderTest, state: Path) -> None:
        self._cluster = cluster
        self._state = state
        self._port = free_port()
        self._prometheus: PrometheusServer | None = None
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
        self.scrape_nothing()
        self._proxy.stop()

    def answers(self, mode: Answers) -> None:
        """Change what everybody gets."""
        self._http.put(f"/-/answers/{mode}").raise_for_status()

    def scrape(self, namespace: str, seconds: float) -> None:
        """Have a Prometheus that scrapes a namespace's pods this often; 0 for none."""
        self.scrape_nothing()
        if not seconds:
            return
        folder = self._state / f"prometheus-{namespace}-{seconds:g}s"
        self._prometheus = PrometheusServer(folder, self._cluster, Scraping(namespace, seconds))
        self._prometheus.start()
        self._http.put("/-/upstream", params={"url": self._prometheus.url}).raise_for_status()

    def scrape_nothing(self) -> None:
        """End the Prometheus there is."""
        if self._prometheus is not None:
            self._prometheus.stop()
            self._prometheus = None
