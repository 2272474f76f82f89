"""The metrics carry the names the plan's rules read."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from include.sandbox.erp.app.metrics import Metrics


def test_the_names_types_and_buckets_are_the_agreed_ones() -> None:
    metrics = Metrics()
    metrics.observe("GET", "/", 200, 0.003)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    types = {name: families[name].type for name in families}
    assert types["http_requests"] == "counter"
    assert types["http_request_duration_seconds"] == "histogram"
    assert types["sse_connections_active"] == "gauge"
    assert types["db_connections_open"] == "gauge"
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_start_time_seconds"} <= set(types)
    request = families["http_requests"].samples[0]
    assert (request.name, request.labels, request.value) == (
        "http_requests_total",
        {"method": "GET", "path": "/", "status": "200"},
        1,
    )
    bounds = [
        float(sample.labels["le"])
        for sample in families["http_request_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert bounds == [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10, float("inf")]
    assert not [name for name in families if name.endswith("_created")]
