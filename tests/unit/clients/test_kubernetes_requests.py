from __future__ import annotations

import pytest

from include.clients.kubernetes import requests
from include.clients.kubernetes.answers import reason, wait_seconds


def test_names_cannot_leave_their_place_in_the_path():
    assert requests.read("services", "ns/../x", "a?b").path == "/api/v1/namespaces/ns%2F..%2Fx/services/a%3Fb"


def test_selectors_are_in_a_stable_order():
    request = requests.select("pods", "production", labels={"version": "blue", "app": "erp"})
    assert request.query == (("labelSelector", "app=erp,version=blue"),)


def test_pod_get_with_and_without_a_port():
    assert requests.pod_get("n", "p", 8080, "/metrics").path == "/api/v1/namespaces/n/pods/p:8080/proxy/metrics"
    assert requests.pod_get("n", "p", None, "/metrics").path == "/api/v1/namespaces/n/pods/p/proxy/metrics"


def test_log_of_the_container_before_the_restart():
    query = dict(requests.pod_log("n", "p", lines=20, previous=True, container="app").query)
    assert query == {"tailLines": "20", "limitBytes": "65536", "previous": "true", "container": "app"}


@pytest.mark.parametrize(
    ("managers", "removed"),
    [([], []), (["helm"], []), (["stellwerk", "helm", "stellwerk"], [2, 0])],
)
def test_disown_removes_only_our_entries_from_the_end(managers, removed):
    patch = requests.disown([{"manager": name} for name in managers])
    assert [operation["path"] for operation in patch if operation["op"] == "remove"] == [
        f"/metadata/managedFields/{index}" for index in removed
    ]
    assert len(patch) == 2 * len(removed)


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("-1", 0.0), ("Wed, 21 Oct 2026", 1.0), (None, 1.0)])
def test_retry_after(header, seconds):
    assert wait_seconds({} if header is None else {"Retry-After": header}) == seconds


def test_reason_of_anything():
    assert reason('{"message": "no"}') == "no"
    assert reason("plain\n text") == "plain text"
    assert reason("") == "no further words"
    assert len(reason("x" * 5000)) < 400
