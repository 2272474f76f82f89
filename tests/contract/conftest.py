"""One cluster for the whole suite (the embedded one, or the one KUBECONFIG names), a namespace per module.

Where a test needs PostgreSQL, its module has a server of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import ProgramMissing
from include.sandbox.cluster import ClusterUnderTest, SandboxCluster, open_cluster
from include.sandbox.postgres import Postgres
from include.sandbox.programs import program
from tests.contract.support import APP, IMAGE, NEXT_IMAGE, HelmCommand, Kubectl


def _program(name: str) -> Path:
    try:
        return program(name)
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterUnderTest]:
    """The cluster with the application's images in it."""
    try:
        opened = open_cluster(tmp_path_factory.mktemp("cluster"))
        with opened as cluster:
            for version, reference in (("1", IMAGE), ("2", NEXT_IMAGE)):
                cluster.import_image(reference, APP, entrypoint=["/app/run"], env={"VERSION": version})
            yield cluster
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def sandbox(cluster: ClusterUnderTest) -> SandboxCluster:
    """The embedded cluster, for what only it promises or where its node is the subject."""
    if not isinstance(cluster, SandboxCluster):
        pytest.skip("about the embedded cluster's node; unset KUBECONFIG to run it")
    return cluster


@pytest.fixture(scope="session")
def emptied(cluster: ClusterUnderTest) -> Iterator[list[Kubectl]]:
    """Namespaces that were deleted during the session; all of them must really go."""
    deleted: list[Kubectl] = []
    yield deleted
    for kubectl in deleted:
        kubectl("wait", "--for=delete", f"namespace/{kubectl.namespace}", "--timeout=90s")


@pytest.fixture(scope="module")
def kubectl(
    cluster: ClusterUnderTest, emptied: list[Kubectl], request: pytest.FixtureRequest
) -> Iterator[Kubectl]:
    """kubectl in a namespace of the module's own, deleted at the end."""
    subject = Path(str(request.node.path)).stem.removeprefix("test_").replace("_", "-")
    namespace = f"contract-{subject}-{uuid.uuid4().hex[:6]}"
    kubectl = Kubectl(_program("kubectl"), cluster.kubeconfig, namespace)
    kubectl("create", "namespace", namespace)
    kubectl.until(lambda: kubectl.get("serviceaccount", "default"), "the namespace's service account exists")
    yield kubectl
    kubectl("delete", "namespace", namespace, "--wait=false")
    emptied.append(kubectl)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The embedded PostgreSQL."""
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    postgres.start()
    yield postgres
    postgres.remove()


@pytest.fixture(params=[4, 3], ids=["helm4", "helm3"])
def helm(kubectl: Kubectl, request: pytest.FixtureRequest) -> HelmCommand:
    """Both major versions of helm."""
    binary = _program("helm" if request.param == 4 else "helm3")
    return HelmCommand(binary, request.param, kubectl.kubeconfig, kubectl.namespace)


@pytest.fixture
def node_url(cluster: ClusterUnderTest, kubectl: Kubectl) -> NodeUrl:
    """URL of a Service's NodePort."""
    return NodeUrl(cluster.node_address, kubectl)


class NodeUrl:
    """Service name → URL of its NodePort."""

    def __init__(self, address: str, kubectl: Kubectl) -> None:
        self.address = address
        self.kubectl = kubectl

    def __call__(self, service: str, path: str = "/") -> str:
        return f"http://{self.address}:{self.kubectl.node_port(service)}{path}"
