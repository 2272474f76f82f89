"""The sources that an environment's rules read."""

from __future__ import annotations

from include.clients.kubernetes import Cluster
from include.clients.metrics.openmetrics import OpenMetricsSource
from include.clients.metrics.prometheus import PrometheusSource
from include.clients.prometheus import Prometheus
from include.errors import MetricsRefused
from include.plan.models import Environment
from include.plan.rules import SourceName
from include.slo.source import Source


def open_sources(
    environment: Environment, cluster: Cluster, prometheus: Prometheus | None
) -> dict[SourceName, Source]:
    """Every source that some rule of the environment reads; the clients stay their openers' to close.

    :param prometheus: the client of ``connections.prometheus``; None where the environment names none
    :raises MetricsRefused: a rule reads from Prometheus and there is no client
    """
    found: dict[SourceName, Source] = {}
    if "openmetrics" in environment.slo.sources:
        found["openmetrics"] = OpenMetricsSource(environment, cluster)
    if "prometheus" in environment.slo.sources:
        if prometheus is None:
            raise MetricsRefused(
                "a rule reads from Prometheus and no connection leads there",
                expected="connections.prometheus in the environment",
                seen="none",
                remedy="name the Airflow connection (type HTTP) of the Prometheus that scrapes the application",
            )
        found["prometheus"] = PrometheusSource(environment, cluster, prometheus)
    return found
