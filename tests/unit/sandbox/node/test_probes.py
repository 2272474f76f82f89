"""What a row of probe results means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.node.probes import (
    HttpGet,
    Kind,
    Probe,
    TcpSocket,
    UnknownPort,
    initial,
    kills,
    observe,
    parse,
)


def probe(kind: Kind, *, success: int = 1, failure: int = 3) -> Probe:
    return Probe(kind, TcpSocket(None, 80), 0, 1, 1, success, failure, None)


CONTAINER: dict[str, Any] = {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}

kinds = st.sampled_from(list(Kind))
results = st.lists(st.booleans(), max_size=60)
thresholds = st.integers(1, 5)


def verdict_of(probe: Probe, row: list[bool]) -> bool:
    """The same rule said differently: the last settled run of equal results decides."""
    verdict = probe.kind is Kind.LIVENESS
    for end in range(1, len(row) + 1):
        needed = probe.success_threshold if row[end - 1] else probe.failure_threshold
        tail = row[max(0, end - needed) : end]
        if len(tail) == needed and all(one is row[end - 1] for one in tail):
            verdict = row[end - 1]
    return verdict


@given(kinds, thresholds, thresholds, results)
def test_a_verdict_changes_exactly_when_a_threshold_of_equal_results_is_reached(
    kind: Kind, success: int, failure: int, row: list[bool]
) -> None:
    tested = probe(kind, success=success, failure=failure)
    state = initial(tested)
    for ok in row:
        state = observe(tested, state, ok=ok)
    assert state.passing is verdict_of(tested, row)


@given(kinds, thresholds, results)
def test_a_container_is_killed_exactly_when_its_last_results_all_failed(
    kind: Kind, failure: int, row: list[bool]
) -> None:
    tested = probe(kind, failure=failure)
    state = initial(tested)
    for ok in row:
        state = observe(tested, state, ok=ok)
    failed = len(row) >= failure and not any(row[-failure:])
    assert kills(tested, state) is (failed and kind is not Kind.READINESS)


def test_before_the_first_result_a_container_is_alive_but_not_ready() -> None:
    assert initial(probe(Kind.LIVENESS)).passing
    assert not initial(probe(Kind.READINESS)).passing
    assert not initial(probe(Kind.STARTUP)).passing


def test_defaults_are_kubelets() -> None:
    parsed = parse(Kind.READINESS, {**CONTAINER, "readinessProbe": {"httpGet": {"port": "http"}}})
    assert parsed is not None
    assert (parsed.initial_delay, parsed.period, parsed.timeout) == (0, 10, 1)
    assert (parsed.success_threshold, parsed.failure_threshold, parsed.grace) == (1, 3, None)
    assert isinstance(parsed.action, HttpGet)
    assert (parsed.action.scheme, parsed.action.port, parsed.action.path) == ("http", 8080, "/")
    assert dict(parsed.action.headers)["User-Agent"].startswith("kube-probe/")


def test_given_headers_replace_the_defaults() -> None:
    action = {"port": 1, "path": "ready", "httpHeaders": [{"name": "user-agent", "value": "mine"}]}
    parsed = parse(Kind.LIVENESS, {**CONTAINER, "livenessProbe": {"httpGet": action}})
    assert parsed is not None
    assert isinstance(parsed.action, HttpGet)
    assert parsed.action.path == "/ready"
    assert [value for name, value in parsed.action.headers if name.lower() == "user-agent"] == ["mine"]


def test_tcp_and_no_probe_at_all() -> None:
    parsed = parse(Kind.STARTUP, {**CONTAINER, "startupProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 2}})
    assert parsed is not None
    assert parsed.action == TcpSocket(None, 9)
    assert parsed.period == 2
    assert parse(Kind.LIVENESS, CONTAINER) is None


def test_a_port_name_nobody_declared_is_named() -> None:
    with pytest.raises(UnknownPort, match="metrics"):
        parse(Kind.LIVENESS, {**CONTAINER, "livenessProbe": {"httpGet": {"port": "metrics"}}})
