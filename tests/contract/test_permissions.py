"""Least privilege: under ``deploy/rbac.yaml`` everything works, and not one verb of it is superfluous.

One exercise does all that Stellwerk does with its account. The API server's audit log then tells which rights it
took: a verb that is missing from the file is refused there, one that nobody uses is found here. So nothing can be
taken away without a test that fails.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.bluegreen.lease import LeaseState
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.traffic import claim, point_preview, switch
from include.errors import ClusterRefused, HelmTimeout
from include.plan.models import Traffic
from include.sandbox import audit
from include.sandbox.account import RBAC_FILE, create_account, documents, role, user_name
from include.sandbox.audit import Access
from include.sandbox.cluster import ClusterUnderTest, SandboxCluster
from include.sandbox.processes import wait_until
from include.sandbox.programs import program
from tests.contract.support import IMAGE, MISSING_IMAGE, Kubectl, service

CHART = Path(__file__).parents[2] / "include" / "charts" / "valeo-erp"
NAME, TAG = IMAGE.split(":")
TRAFFIC = Traffic(
    service="erp",
    preview_service="erp-preview",
    selector={"app.kubernetes.io/name": "valeo-erp"},
    slot_label="version",
    public_url="http://erp.example",
    preview_url="http://preview.example",
)
ALL: dict[str, Any] = {
    "slot": "green",
    "image": {"repository": NAME, "tag": TAG},
    "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2},
    "database": {"url": "postgresql://user:password@host/database"},
    "config": {"LOG_LEVEL": "info"},
    "drain": {"preStopSeconds": 0, "seconds": 0, "limitSeconds": 1, "terminationGracePeriodSeconds": 2},
}
CHANGED = {**ALL, "config": {"LOG_LEVEL": "debug"}, "service": {"port": 81}, "database": {"url": "postgresql://b"}}
CHANGED["autoscaling"] = {**ALL["autoscaling"], "maxReplicas": 3}
FEW = {
    **ALL,
    "autoscaling": {"enabled": False},
    "replicaCount": 1,
    "service": {"enabled": False},
    "database": {"existingSecret": "given"},
}
LAST_REQUEST = "the-last-request"
BROKEN = {**ALL, "image": {"repository": NAME, "tag": MISSING_IMAGE.split(":")[1]}}

# Helm 3 asks whether the namespace still exists when an object is gone, and takes a refusal for an answer.
REFUSED_AND_NOT_MISSED = {Access("", "namespaces", "get")}
ALLOWED_TO_ALL = {Access("authorization.k8s.io", "selfsubjectaccessreviews", "create")}


@pytest.fixture(scope="module")
def account(cluster: ClusterUnderTest, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of the account, in the module's namespace."""
    return create_account(cluster.kubeconfig, kubectl.namespace, tmp_path_factory.mktemp("account") / "kubeconfig")


class Noting:
    """A client that notes which of its methods were used."""

    def __init__(self, client: Cluster) -> None:
        self._client = client
        self.used: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.used[name] += 1
        return getattr(self._client, name)


async def _helm(kubeconfig: Path, kubectl: Kubectl, binary: str) -> None:
    """Every operation of the helm client on every kind of object that the chart holds."""
    release = f"slot-{binary}"
    helm = Helm(program(binary), kubeconfig, kubectl.namespace)
    assert await helm.history(release) == ()
    await helm.template(release, CHART, ALL)
    await helm.dry_run(release, CHART, ALL)
    await helm.upgrade_install(release, CHART, ALL, timeout_seconds=60)
    await helm.upgrade_install(release, CHART, CHANGED, timeout_seconds=60)
    await helm.upgrade_install(release, CHART, FEW, timeout_seconds=60)
    with pytest.raises(HelmTimeout):
        await helm.upgrade_install(release, CHART, BROKEN, timeout_seconds=3)
    await helm.rollback(release, 1, timeout_seconds=60)
    await helm.uninstall(release, timeout_seconds=60)


async def _stellwerk(kubeconfig: Path, kubectl: Kubectl, used: Counter[str]) -> None:
    """Every method of the client, by way of the functions that use it where there is one."""
    release = "valeo-erp-green"
    labels = TRAFFIC.selector_for("green")
    await Helm(program("helm"), kubeconfig, kubectl.namespace).upgrade_install(release, CHART, ALL)
    async with Cluster.from_kubeconfig(kubeconfig, kubectl.namespace) as client:
        cluster: Any = Noting(client)
        now = datetime.now(UTC)
        await cluster.server_version()
        await claim(cluster, TRAFFIC, "r1")
        await point_preview(cluster, TRAFFIC, "green")
        await switch(
            cluster, TRAFFIC, target="green", release_id="r1", by="test", reason="a test", now=now, required=1
        )
        # Those of the Helm releases before may still be ending.
        pod = next(pod for pod in await cluster.pods(labels) if pod.ready and not pod.deleting)
        await cluster.endpoints(TRAFFIC.service)
        assert await cluster.deployments(labels)
        assert (deployment := await cluster.deployment(release))
        assert await cluster.current_template(deployment)
        (hpa,) = await cluster.hpas()
        await cluster.set_hpa_minimum(hpa.name, 2)
        await cluster.scale(release, 2)
        await cluster.pod_get(pod.name, "/readyz")
        await cluster.log_tail(pod.name)
        await cluster.events(pod.name)
        await cluster.restart_deployment(release, now)
        await cluster.pods_not_restarted(labels, now)
        held = await cluster.create_lease(LeaseState("environment", "r1", now, now, 60))
        held = await cluster.replace_lease(replace(held, renewed_at=now + timedelta(seconds=1)))
        assert await cluster.lease("environment") == held
        await cluster.delete_lease(held)
        for step in ("put_aside", "bring_back", "put_aside", "forget"):
            assert await getattr(cluster.release_secrets, step)(release)
        await cluster.delete_hpa(hpa.name)
        await cluster.delete_deployment(release)
        assert await cluster.service(LAST_REQUEST) is None
        used.update(cluster.used)


@pytest.fixture(scope="module")
def exercised(account: Path, kubectl: Kubectl) -> Counter[str]:
    """The exercise, done once; which methods of the client it used."""
    used: Counter[str] = Counter()
    for name, slot in ((TRAFFIC.service, "blue"), (TRAFFIC.preview_service, "blue")):
        kubectl.apply(service(name, {**TRAFFIC.selector, TRAFFIC.slot_label: slot}))
    kubectl("create", "secret", "generic", "given", "--from-literal=url=postgresql://c")

    async def exercise() -> None:
        with pytest.MonkeyPatch.context() as environment:
            # As on a server before 1.34, where Helm 4 lists before it watches.
            environment.setenv("KUBE_FEATURE_WatchListClient", "false")
            for binary in ("helm", "helm3"):
                await _helm(account, kubectl, binary)
        await _stellwerk(account, kubectl, used)

    asyncio.run(exercise())
    return used


def granted(namespace: str) -> set[Access]:
    return {
        Access(group, resource, verb)
        for rule in role(documents(namespace))["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_whole_client_works_under_the_role(exercised: Counter[str]) -> None:
    methods = {
        name
        for name, method in inspect.getmembers(Cluster, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert methods - set(exercised) == set(), "an operation that was never tried under the role"


def test_what_is_used_is_what_is_granted(
    exercised: Counter[str], account: Path, cluster: ClusterUnderTest, kubectl: Kubectl
) -> None:
    if not isinstance(cluster, SandboxCluster):
        pytest.skip("needs the API server's audit log, which only the embedded cluster shows: unset KUBECONFIG")
    log, user = cluster.control_plane.audit_log, user_name(kubectl.namespace)
    wait_until(
        lambda: any(one.path.endswith(LAST_REQUEST) for one in audit.read(log, user)),
        deadline_seconds=30,
        what="the audit log is complete",
    )
    requests = list(audit.read(log, user))
    refused = {access for one in requests if one.refused for access in one.needs}
    assert refused - REFUSED_AND_NOT_MISSED == set()
    used = {access for one in requests if not one.refused for access in one.needs} - ALLOWED_TO_ALL
    assert used - granted(kubectl.namespace) == set()
    assert granted(kubectl.namespace) - used == set(), "granted and never used: take it out of deploy/rbac.yaml"


async def test_a_verb_that_is_taken_away_is_named(
    cluster: ClusterUnderTest, kubectl: Kubectl, tmp_path: Path
) -> None:
    objects = json.loads(json.dumps(documents(kubectl.namespace)).replace('"stellwerk"', '"less"'))
    for rule in role(objects)["rules"]:
        if rule["resources"] == ["services"]:
            rule["verbs"].remove("patch")
    kubectl.apply(service("unpatched", {**TRAFFIC.selector, TRAFFIC.slot_label: "blue"}))
    less = create_account(cluster.kubeconfig, kubectl.namespace, tmp_path / "less", objects=objects)
    traffic = TRAFFIC.model_copy(update={"service": "unpatched"})
    async with Cluster.from_kubeconfig(less, kubectl.namespace) as client:
        with pytest.raises(ClusterRefused, match=r'cannot patch resource "services".*deploy/rbac\.yaml') as caught:
            await claim(client, traffic, "r1")
    assert caught.value.status == 403


def test_it_reaches_no_other_namespace_and_nothing_of_the_cluster(account: Path, kubectl: Kubectl) -> None:
    own = ["--kubeconfig", str(account)]
    for forbidden in (
        ["get", "secrets", "-n", "kube-system"],
        ["get", "nodes"],
        ["create", "pods"],
        ["create", "pods/exec"],
        ["create", "rolebindings"],
        ["create", "serviceaccounts/token"],
    ):
        answer = kubectl("auth", "can-i", *forbidden, *own, ok=False)
        assert answer.startswith("no"), forbidden


def test_the_file_is_not_bound_to_another_namespace_by_mistake(kubectl: Kubectl) -> None:
    answer = kubectl("apply", "--dry-run=server", "-f", str(RBAC_FILE), ok=False)
    assert "does not match the namespace" in answer
