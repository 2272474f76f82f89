"""Questions to an API server that change nothing: what it serves, would refuse, and lets the account do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from include.chart.manifest import HOOK, Manifest
from include.clients.kubernetes.discovery import Api, Resource, parse_api
from include.clients.kubernetes.permissions import CHART_VERBS, NEEDED, Right, rights
from include.errors import ClusterRefused, ClusterUnreachable
from tests.unit.clients.api_server import cluster_answering, status

DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", namespaced=True)
ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
MANIFEST = Manifest(
    "c/templates/d.yaml", "kind: Deployment\n", {"kind": "Deployment", "metadata": {"name": "erp"}}
)
JOB = Manifest(
    "c/templates/j.yaml",
    "kind: Job\n",
    {"kind": "Job", "metadata": {"name": "j", "annotations": {HOOK: "pre-install"}}},
)


def group(name: str, *resources: tuple[str, str, str, list[str]]) -> dict[str, Any]:
    listed = [
        {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": verbs}
        for plural, kind, scope, verbs in resources
    ]
    return {"metadata": {"name": name} if name else {}, "versions": [{"version": "v1", "resources": listed}]}


CORE = {
    "items": [
        group(
            "", ("services", "Service", "Namespaced", ["create", "get"]), ("nodes", "Node", "Cluster", ["create"])
        )
    ]
}
GROUPS = {
    "items": [
        group(
            "apps", ("deployments", "Deployment", "Namespaced", ["create"]), ("only", "Only", "Cluster", ["get"])
        )
    ]
}


def test_discovery_becomes_kinds_and_paths() -> None:
    api = parse_api([CORE, GROUPS])
    service, deployment, node = (
        api.find("v1", "Service"),
        api.find("apps/v1", "Deployment"),
        api.find("v1", "Node"),
    )
    assert service is not None
    assert deployment is not None
    assert node is not None
    assert service.path("prod", "a/b") == "/api/v1/namespaces/prod/services/a%2Fb"
    assert deployment.collection("prod") == "/apis/apps/v1/namespaces/prod/deployments"
    assert node.path("prod", "n") == "/api/v1/nodes/n"
    assert (service.group, deployment.group) == ("", "apps")
    assert api.find("apps/v1", "Only") is None, "nothing that a chart could hold"
    assert api.versions == ("apps/v1", "apps/v1/Deployment", "v1", "v1/Node", "v1/Service")


async def test_discovery_is_asked_once() -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        assert "APIGroupDiscoveryList" in request.headers["Accept"]
        return web.json_response(CORE if request.path == "/api" else GROUPS)

    async with cluster_answering(answer) as cluster:
        inspector = cluster.inspector()
        assert (await inspector.api()).find("v1", "Service") is not None
        assert (await inspector.api()).find("apps/v1", "Deployment") is not None
    assert asked == ["/api", "/apis"]


async def test_an_object_is_applied_as_helm_would_and_nothing_is_written() -> None:
    seen: list[tuple[str, str, dict[str, str], str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.text()
        seen.append((request.method, request.path, dict(request.query), request.content_type, body))
        return web.json_response({})

    async with cluster_answering(answer) as cluster:
        assert await cluster.inspector().refusal(MANIFEST, DEPLOYMENTS) is None
        assert await cluster.inspector().refusal(JOB, DEPLOYMENTS) is None
    (patch, create) = seen
    options = {"dryRun": "All", "fieldManager": "helm", "fieldValidation": "Strict"}
    path = "/apis/apps/v1/namespaces/production/deployments"
    assert patch == (
        "PATCH",
        f"{path}/erp",
        {**options, "force": "true"},
        "application/apply-patch+yaml",
        "kind: Deployment\n",
    )
    assert create == ("POST", path, options, "application/yaml", "kind: Job\n")


RBAC = 'deployments.apps "erp" is forbidden: User "x" cannot patch resource "deployments" in API group "apps"'


@pytest.mark.parametrize(
    ("code", "words", "refused"),
    [
        (422, 'Deployment.apps "erp" is invalid: spec.replicas', True),
        (400, "strict decoding error", True),
        (404, 'namespaces "nowhere" not found', True),
        (403, 'pods "erp" is forbidden: exceeded quota: small', True),
        (500, "failed to create typed patch object (p/erp; apps/v1): .spec.x: field not declared in schema", True),
        (403, RBAC, False),
    ],
)
async def test_what_the_server_would_refuse(code: int, words: str, *, refused: bool) -> None:
    async def answer(_: web.Request) -> web.Response:
        return status(code, words)

    async with cluster_answering(answer) as cluster:
        assert await cluster.inspector().refusal(MANIFEST, DEPLOYMENTS) == (words if refused else None)


async def test_a_hook_that_exists_is_no_fault() -> None:
    async def answer(_: web.Request) -> web.Response:
        return status(409, "jobs already exists")

    async with cluster_answering(answer) as cluster:
        assert await cluster.inspector().refusal(JOB, DEPLOYMENTS) is None
        assert await cluster.inspector().refusal(MANIFEST, DEPLOYMENTS) is not None


@pytest.mark.parametrize(
    ("code", "kind"), [(500, ClusterUnreachable), (503, ClusterUnreachable), (401, ClusterRefused)]
)
async def test_a_server_in_trouble_says_nothing_about_the_chart(code: int, kind: type[Exception]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return status(code, "etcd is gone")

    async with cluster_answering(answer) as cluster:
        with pytest.raises(kind):
            await cluster.inspector().refusal(MANIFEST, DEPLOYMENTS)


async def test_rights_are_asked_with_subresource_and_namespace() -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(json.loads(await request.text())["spec"]["resourceAttributes"])
        return web.json_response({"status": {"allowed": asked[-1]["verb"] == "get"}}, status=201)

    async with cluster_answering(answer) as cluster:
        inspector = cluster.inspector()
        assert await inspector.may("", "pods/log", "get", namespace="production")
        assert not await inspector.may("rbac.authorization.k8s.io", "clusterroles", "create", namespace=None)
    assert asked == [
        {"resource": "pods", "subresource": "log", "verb": "get", "namespace": "production"},
        {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "verb": "create"},
    ]


def test_the_shipped_role_grants_what_preflight_asks_for_with_the_shipped_chart_and_nothing_else() -> None:
    kinds = [("", "services"), ("", "configmaps"), ("", "secrets"), ("apps", "deployments")]
    kinds.append(("autoscaling", "horizontalpodautoscalers"))
    asked = {(one.group, one.resource, verb) for one in NEEDED for verb in one.verbs}
    asked |= {(group, resource, verb) for group, resource in kinds for verb in CHART_VERBS}
    objects = yaml.safe_load_all((Path(__file__).parents[3] / "deploy" / "rbac.yaml").read_text())
    granted = {
        (group, resource, verb)
        for role in objects
        if role["kind"] == "Role"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert asked == granted


def test_rights_are_those_of_every_release_and_of_the_charts_kinds_each_once() -> None:
    api = Api({("apps/v1", "Deployment"): DEPLOYMENTS, (ROLES.api_version, "ClusterRole"): ROLES})
    deployment = Manifest("f", "", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "erp"}})
    role = Manifest("f", "", {"apiVersion": ROLES.api_version, "kind": "ClusterRole", "metadata": {"name": "r"}})
    unknown = Manifest("f", "", {"apiVersion": "x/v1", "kind": "Bogus"})
    found = rights(api, [deployment, deployment, role, unknown], "production")
    assert len(found) == len(set(found))
    for verb in CHART_VERBS:
        assert Right("apps", "deployments", verb, "production") in found
        assert Right("rbac.authorization.k8s.io", "clusterroles", verb, None) in found
    for one in NEEDED:
        assert one.why
        assert {Right(one.group, one.resource, verb, "production") for verb in one.verbs} <= set(found)
