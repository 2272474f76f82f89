"""The metrics of one process, under the names the release plan's rules read."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """A registry of its own, so that several applications can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU and start time of this process
        self.requests = Counter(
            "http_requests", "Answers by route and status.", ["method", "path", "status"], registry=self.registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From a request's arrival to its answer's end; to its first byte for event streams.",
            ["path"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("sse_connections_active", "Open event streams.", registry=self.registry)
        self.connections = Gauge("db_connections_open", "Open database connections.", registry=self.registry)

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.requests.labels(method, path, str(status)).inc()
        self.duration.labels(path).observe(seconds)

    def render(self) -> bytes:
        """The Prometheus text of this moment."""
        return generate_latest(self.registry)
