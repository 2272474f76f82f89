"""The HTTP API of Prometheus, and of those that answer like it: Thanos, Mimir, VictoriaMetrics."""

from include.clients.prometheus.access import Access
from include.clients.prometheus.answers import Answer, Series
from include.clients.prometheus.client import Prometheus, shared

__all__ = ["Access", "Answer", "Prometheus", "Series", "shared"]
