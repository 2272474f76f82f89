"""Which series are a slot's: the PromQL, and that nothing in a value ends it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.clients.metrics.selection import duration, filled, matchers, quoted, sanitised, standard
from include.plan.legacy import Former, Legacy
from tests.unit.clients.metrics.scraping import environment


def test_a_slot_is_named_by_namespace_selector_and_labels_of_the_plan():
    slo = {
        "source": "prometheus",
        "metrics": {"labels": {"job": "erp"}, "namespace_label": "kubernetes_namespace"},
    }
    assert matchers(environment(slo=slo), "green") == (
        'kubernetes_namespace="production",app_kubernetes_io_name="erp",version="green",job="erp"'
    )


def test_an_adopted_slot_is_named_by_its_own_selector():
    legacy = Legacy(
        slot="blue",
        selector={"app.kubernetes.io/instance": "erp"},
        deployment="erp",
        former=Former(selector={"app.kubernetes.io/instance": "erp"}),
    )
    adopted = environment().adopting(legacy)
    assert matchers(adopted, "blue") == 'namespace="production",app_kubernetes_io_instance="erp"'
    assert "version" in matchers(adopted, "green")
    assert filled("up{$selector}", adopted, "blue") == f"up{{{matchers(adopted, 'blue')}}}"


def test_one_selector_asks_for_everything_and_leaves_health_endpoints_out():
    found = standard(environment(), "green")
    assert found.startswith('{__name__=~"up|http_requests_total|http_request_duration_seconds_bucket|')
    assert found.endswith('path!~"/healthz|/readyz|/metrics"}')
    assert "path" not in standard(environment(traffic={**_traffic(), "health_paths": []}), "green")


def test_a_path_that_looks_like_a_regular_expression_is_none():
    found = standard(environment(traffic={**_traffic(), "health_paths": ["/a.b*"]}), "green")
    assert found.endswith(r'path!~"/a\\.b\\*"}')


def _traffic() -> dict[str, object]:
    from tests.unit.plan.test_models import ENVIRONMENT

    return dict(ENVIRONMENT["traffic"])


@given(st.text(max_size=30))
def test_whatever_is_quoted_stays_one_string(text: str) -> None:
    found = quoted(text)
    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', found, re.DOTALL)
    inside = re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], found[1:-1], flags=re.DOTALL)
    assert inside == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (2.5, "2500ms"), (0.0001, "1ms"), (3600, "3600s"), (0.9999, "1s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_kubernetes_labels_are_sanitised_as_labelmap_does():
    assert sanitised("app.kubernetes.io/name-x") == "app_kubernetes_io_name_x"


def test_a_query_is_filled_in():
    query = 'sum(rate(x{version="$slot",namespace="${namespace}",a=~"b$"}[$window])) # $$slot'
    assert filled(query, environment(), "green") == (
        'sum(rate(x{version="green",namespace="production",a=~"b$"}[10s])) # $slot'
    )
