"""The client against a server in trouble: every answer, and every way not to answer, has a name."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from datetime import UTC, datetime

import pytest
from aiohttp import web

from include.clients.kubernetes import Cluster
from include.errors import ClusterRefused, ClusterUnreachable, KubeconfigUnusable, PatchRefused
from tests.unit.clients.api_server import (
    close,
    cluster_answering,
    cluster_at,
    hang,
    kubeconfig,
    serving,
    status,
)

SERVICE = {"metadata": {"name": "app", "resourceVersion": "7"}, "spec": {"selector": {"version": "blue"}}}


def answering(*answers):
    """A handler that gives one answer after the other, and records what it was asked."""
    left = list(answers)

    async def handler(request: web.Request) -> web.StreamResponse:
        handler.requests.append((request.method, request.path_qs, request.content_type, await request.text()))
        answer = left.pop(0) if len(left) > 1 else left[0]
        return await answer(request) if callable(answer) else answer

    handler.requests = []
    return handler


def ok(body=SERVICE):
    async def answer(_):
        return web.json_response(body)

    return answer


def refusing(code, message="because", headers=None, **more):
    async def answer(_):
        return status(code, message, headers, **more)

    return answer


@pytest.mark.parametrize("code", [500, 502, 503, 504, 410])
async def test_a_server_in_trouble_is_unreachable(code):
    async with cluster_answering(answering(refusing(code, "etcd is down"))) as cluster:
        with pytest.raises(ClusterUnreachable, match=f"HTTP {code}: etcd is down"):
            await cluster.service("app")


@pytest.mark.parametrize("code", [400, 401, 403, 409])
async def test_a_refusal_carries_status_and_reason(code):
    async with cluster_answering(answering(refusing(code, "not for you"))) as cluster:
        with pytest.raises(ClusterRefused, match="not for you") as caught:
            await cluster.service("app")
    assert caught.value.status == code
    assert not caught.value.retryable
    assert "Service app in production" in caught.value.what


async def test_what_is_not_there_is_none():
    async with cluster_answering(answering(refusing(404))) as cluster:
        assert await cluster.service("app") is None
        assert await cluster.deployment("app") is None


@pytest.mark.parametrize("trouble", [hang, close])
async def test_no_answer_is_unreachable(trouble):
    async with cluster_answering(answering(trouble), timeout_seconds=0.3) as cluster:
        started = time.monotonic()
        with pytest.raises(ClusterUnreachable) as caught:
            await cluster.service("app")
    assert caught.value.retryable
    assert time.monotonic() - started < 5


async def test_nobody_listening_is_unreachable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with cluster_at(url) as cluster:
            with pytest.raises(ClusterUnreachable, match=r"127\.0\.0\.1"):
                await cluster.service("app")


async def test_something_else_than_kubernetes_answers():
    async def page(_):
        return web.Response(text="<html>Sign in</html>", content_type="text/html")

    async with cluster_answering(page) as cluster:
        with pytest.raises(ClusterUnreachable, match="Sign in"):
            await cluster.service("app")


async def test_a_busy_server_is_asked_again_when_it_says():
    handler = answering(refusing(429, headers={"Retry-After": "1"}), ok())
    async with cluster_answering(handler) as cluster:
        started = time.monotonic()
        service = await cluster.service("app")
    assert service is not None
    assert 1 <= time.monotonic() - started < 10
    assert len(handler.requests) == 2


async def test_waiting_for_a_busy_server_stays_within_the_budget():
    handler = answering(refusing(429, "too many requests", headers={"Retry-After": "60"}))
    async with cluster_answering(handler, timeout_seconds=5.0) as cluster:
        started = time.monotonic()
        with pytest.raises(ClusterUnreachable, match="429"):
            await cluster.service("app")
    assert time.monotonic() - started < 4, "it must not wait when it would be in vain"


async def test_a_busy_pod_is_not_asked_again():
    handler = answering(refusing(429))
    async with cluster_answering(handler) as cluster:
        with pytest.raises(ClusterUnreachable, match=r"/metrics of pod app-1.*429"):
            await cluster.pod_get("app-1", "/metrics")
    assert len(handler.requests) == 1


@pytest.mark.parametrize(
    ("code", "details"),
    [(422, {}), (409, {}), (422, {"details": {"name": "app"}})],
)
async def test_a_patch_that_met_another_world(code, details):
    async with cluster_answering(answering(refusing(code, **details))) as cluster:
        with pytest.raises(PatchRefused, match=f"HTTP {code}"):
            await cluster.patch_service("app", [])


async def test_an_invalid_change_is_not_taken_for_another_world():
    causes = {"details": {"causes": [{"field": "spec.selector"}]}}
    async with cluster_answering(answering(refusing(422, "spec.selector: Invalid value", **causes))) as cluster:
        with pytest.raises(ClusterRefused, match=r"spec\.selector") as caught:
            await cluster.patch_service("app", [])
    assert caught.value.status == 422


async def test_patching_a_service_that_is_gone():
    async with cluster_answering(answering(refusing(404, "not found"))) as cluster:
        with pytest.raises(ClusterRefused) as caught:
            await cluster.patch_service("app", [])
    assert caught.value.status == 404


async def test_a_json_patch_says_that_it_is_one():
    handler = answering(ok())
    operation = {"op": "test", "path": "/spec/selector", "value": {"version": "blue"}}
    async with cluster_answering(handler) as cluster:
        service = await cluster.patch_service("app", [operation])
    assert service.resource_version == "7"
    method, path, content_type, body = handler.requests[0]
    assert (method, content_type) == ("PATCH", "application/json-patch+json")
    assert path == "/api/v1/namespaces/production/services/app?fieldManager=stellwerk"
    assert '"op": "test"' in body


async def test_a_restart_is_a_merge_patch_of_the_template():
    handler = answering(ok({"metadata": {"name": "app"}}))
    async with cluster_answering(handler) as cluster:
        await cluster.restart_deployment("app", datetime(2030, 1, 1, tzinfo=UTC))
    method, path, content_type, body = handler.requests[0]
    assert (method, content_type) == ("PATCH", "application/merge-patch+json")
    assert path.startswith("/apis/apps/v1/namespaces/production/deployments/app?")
    assert "2030-01-01T00:00:00+00:00" in body


async def test_sizes_do_not_stay_stellwerks_own():
    owned = {"metadata": {"managedFields": [{"manager": "helm"}, {"manager": "stellwerk"}, {"manager": "kcm"}]}}
    handler = answering(ok({}), ok(owned), ok({}))
    async with cluster_answering(handler) as cluster:
        await cluster.scale("app", 0)
    (_, scaled, *_), _, (_, _, _, body) = handler.requests
    assert "/deployments/app/scale?" in scaled
    assert '"path": "/metadata/managedFields/1"' in body
    assert "managedFields/0" not in body
    assert "managedFields/2" not in body


async def test_giving_up_ownership_is_repeated_when_the_list_changed():
    owned = {"metadata": {"managedFields": [{"manager": "stellwerk"}]}}
    handler = answering(ok({}), ok(owned), refusing(422), ok({"metadata": {"managedFields": []}}))
    async with cluster_answering(handler) as cluster:
        await cluster.scale("app", 3)
    assert [method for method, *_ in handler.requests] == ["PATCH", "GET", "PATCH", "GET"]


async def test_credentials_reach_the_server_and_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Authorization"))
        return status(401, "Unauthorized")

    async with serving(handler) as url, cluster_at(url, token="hunter2-token") as cluster:
        with pytest.raises(ClusterRefused) as caught:
            await cluster.service("app")
    assert seen == ["Bearer hunter2-token"]
    assert "hunter2" not in caplog.text + str(caught.value)


async def test_many_calls_at_once_share_the_client():
    async with cluster_answering(answering(ok())) as cluster:
        found = await asyncio.gather(*(cluster.service("app") for _ in range(20)))
    assert all(service and service.name == "app" for service in found)


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "kind: Config", "[]", kubeconfig("https://c").replace('"current-context": "x"', '"a": "b"')],
)
async def test_a_kubeconfig_that_cannot_be_used(tmp_path, content):
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KubeconfigUnusable, match=str(path)):
        async with Cluster.from_kubeconfig(path, "production"):
            pass


async def test_a_kubeconfig_names_server_and_credentials(tmp_path):
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"gitVersion": "v1.34.4"})

    async with serving(handler) as url:
        (tmp_path / "kubeconfig").write_text(kubeconfig(url))
        async with Cluster.from_kubeconfig(tmp_path / "kubeconfig", "production") as cluster:
            assert await cluster.server_version() == "v1.34.4"
    assert seen == ["Bearer hunter2-token"]


async def test_pods_without_half_of_what_a_pod_has_are_pods_all_the_same():
    items = [
        {"metadata": {"name": "b"}},
        {"metadata": {"name": "a", "labels": None}, "spec": None, "status": None},
    ]
    for body in ({"items": items}, {"items": [*items, {"metadata": None}]}):
        async with cluster_answering(answering(ok(body))) as cluster:
            assert [pod.name for pod in await cluster.pods({}) if pod.name] == ["a", "b"]
    async with cluster_answering(answering(ok({"items": None}))) as cluster:
        assert await cluster.pods({}) == ()
    async with cluster_answering(answering(ok({"items": "login"}))) as cluster:
        with pytest.raises(ClusterUnreachable, match="cannot be used"):
            await cluster.pods({})
