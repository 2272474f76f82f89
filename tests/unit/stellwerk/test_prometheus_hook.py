"""An Airflow connection becomes access to Prometheus, or an error that names the connection."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection

from include.errors import MetricsRefused
from stellwerk.hooks.prometheus import PrometheusHook, access
from tests.unit.clients.metrics.scraping import environment


def connection(**fields) -> Connection:
    return Connection(conn_id="p", conn_type="http", **fields)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "prometheus.example.com"}, "https://prometheus.example.com"),
        ({"host": "prometheus", "schema": "http", "port": 9090}, "http://prometheus:9090"),
        ({"host": "http://127.0.0.1:9090/"}, "http://127.0.0.1:9090"),
        ({"host": "https://example.com/prometheus/"}, "https://example.com/prometheus"),
        ({"host": "https://example.com", "port": 8443, "extra": '{"path": "/p/"}'}, "https://example.com:8443/p"),
    ],
)
def test_the_address(fields, url):
    assert access("p", connection(**fields)).url == url


def test_a_login_and_a_token():
    assert (
        access("p", connection(host="h", login="anna", password="x")).headers["Authorization"].startswith("Basic ")
    )
    assert access("p", connection(host="h", password="x")).headers["Authorization"] == "Bearer x"


def test_the_extras():
    found = access(
        "p", connection(host="h", extra='{"ca_file": "/ca.pem", "timeout": 2, "together": 64, "verify": false}')
    )
    assert (found.together, access("p", connection(host="h")).together) == (64, 20)
    assert (found.ca_file, found.timeout_seconds, found.verify) == ("/ca.pem", 2.0, False)
    assert access("p", connection(host="h")).verify is True


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "without a host"),
        ({"host": "h", "extra": '{"verify": "no"}'}, "verify is 'no'"),
        ({"host": "h", "extra": '{"timeout": 0}'}, "timeout is 0"),
        ({"host": "h", "extra": '{"together": 0}'}, "together is 0"),
        ({"host": "h", "extra": '{"together": 2.5}'}, "together is 2.5"),
        ({"host": "h", "extra": '{"together": true}'}, "together is True"),
        ({"host": "h", "extra": '{"timeout": true}'}, "timeout is True"),
        ({"host": "http://h", "password": "hidden-word"}, "in the clear"),
    ],
)
def test_what_cannot_be_used(fields, words):
    with pytest.raises(MetricsRefused, match=words) as refused:
        access("p", connection(**fields))
    assert "hidden-word" not in str(refused.value)


def test_a_connection_that_is_not_defined(monkeypatch):
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    def missing(_):
        raise AirflowNotFoundException("nothing")

    monkeypatch.setattr(BaseHook, "get_connection", missing)
    with pytest.raises(MetricsRefused, match="connection p leads to no Prometheus"):
        PrometheusHook.read("p")


async def test_reading_it_in_a_triggerer(monkeypatch):
    from airflow.sdk import BaseHook

    async def found(_):
        return connection(host="http://127.0.0.1:9")

    monkeypatch.setattr(BaseHook, "aget_connection", found)
    hook = await PrometheusHook.aread("p")
    async with hook.client() as one, hook.client() as two:
        assert one is two


def test_it_is_read_only_where_a_rule_needs_it(monkeypatch):
    from airflow.sdk import BaseHook

    monkeypatch.setattr(BaseHook, "get_connection", lambda _: connection(host="h"))
    hook = PrometheusHook.needed(environment())
    assert hook is not None
    assert hook.access.url == "https://h"
    assert PrometheusHook.needed(environment(slo={})) is None
