"""The application's starting point in a cluster: namespace, Services, database Secret and 2.9.0 in slot blue.

This is what a team has before it meets Stellwerk; the traffic and preview Services belong to no Helm release.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client import ApiException

from include.bluegreen.capacity import usable_endpoints
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import SandboxError
from include.plan.loader import Plan
from include.plan.models import Environment, ImageRef, Release
from include.plan.values import slot_values
from include.sandbox.processes import wait_until
from include.sandbox.programs import program

FIRST_VERSION = "2.9.0"
SECRET = "valeo-erp-database"
REMOVAL_SECONDS = 120.0
CONFLICT = 409


@dataclass(frozen=True)
class Addresses:
    """Where users reach the application, and where the idle slot can be seen."""

    public_url: str
    preview_url: str


def create_world(kubeconfig: Path, namespace: str, database_url: str, node_address: str) -> Addresses:
    """Create namespace, Secret and the two Services where they are missing.

    :param database_url: as the application's pods reach it
    """
    with config.new_client_from_config(config_file=str(kubeconfig)) as api:
        core = client.CoreV1Api(api)
        _create(lambda: core.create_namespace({"metadata": {"name": namespace}}))
        secret = {
            "metadata": {"name": SECRET},
            "data": {"url": base64.b64encode(database_url.encode()).decode()},
        }
        _create(lambda: core.create_namespaced_secret(namespace, secret))
        core.replace_namespaced_secret(SECRET, namespace, secret)
        ports = []
        for name, slot in (("valeo-erp", "blue"), ("valeo-erp-preview", "green")):
            _create(partial(core.create_namespaced_service, namespace, _service(name, slot)))
            ports.append(core.read_namespaced_service(name, namespace).spec.ports[0].node_port)
    return Addresses(*(f"http://{node_address}:{port}" for port in ports))


def create_namespace(kubeconfig: Path, namespace: str) -> None:
    """Create a namespace for a demo or a test on somebody else's cluster.

    :raises SandboxError: it exists, and whatever is in it is not ours
    """
    with config.new_client_from_config(config_file=str(kubeconfig)) as api:
        try:
            client.CoreV1Api(api).create_namespace({"metadata": {"name": namespace}})
        except ApiException as error:
            if error.status != CONFLICT:
                raise
            raise SandboxError(
                f"namespace {namespace} exists on this cluster",
                expected="a namespace of the sandbox's own, which is removed at the end",
                seen="somebody else's, or one left by a sandbox that was killed",
                remedy=f"look into it; if nobody needs it: kubectl delete namespace {namespace}",
            ) from None


def remove_namespace(kubeconfig: Path, namespace: str) -> None:
    """Delete a namespace and wait until it is gone.

    :raises SandboxError: not within two minutes
    """
    with config.new_client_from_config(config_file=str(kubeconfig)) as api:
        core = client.CoreV1Api(api)

        def gone() -> bool:
            return not core.list_namespace(field_selector=f"metadata.name={namespace}").items

        if not gone():
            core.delete_namespace(namespace)
        wait_until(gone, deadline_seconds=REMOVAL_SECONDS, what=f"namespace {namespace} is gone", poll_seconds=0.5)


async def install_first_version(kubeconfig: Path, environment: Environment, chart: Path) -> None:
    """Install 2.9.0 into slot blue and wait until it serves."""
    release = Release.model_validate(
        {
            "version": FIRST_VERSION,
            "previous": "2.8.0",
            "date": "2030-01-01",
            "image": ImageRef(repository="valeo-erp", tag=FIRST_VERSION),
        }
    )
    helm = Helm(program("helm"), kubeconfig, environment.namespace)
    name = environment.slot_release("blue")
    if not await helm.history(name):
        await helm.upgrade_install(name, chart, slot_values(release, environment, "blue"), timeout_seconds=120)
    async with Cluster.from_kubeconfig(kubeconfig, environment.namespace) as cluster:
        await cluster.scale(name, environment.replicas)
        await wait_for_endpoints(cluster, environment, environment.replicas)


async def wait_for_endpoints(cluster: Cluster, environment: Environment, number: int) -> None:
    """Wait until the traffic Service has that many usable endpoints.

    :raises SandboxError: not within two minutes
    """
    traffic = environment.traffic
    usable = 0
    for _ in range(240):
        usable = usable_endpoints(await cluster.endpoints(traffic.service), traffic.port)
        if usable >= number:
            return
        await asyncio.sleep(0.5)
    raise SandboxError(
        "the demo application does not come up", expected=f"{number} ready endpoints", seen=str(usable)
    )


def environment_of(plan: Plan, name: str = "production") -> Environment:
    """Return the sandbox's environment.

    :raises SandboxError: its plan is broken
    """
    if plan.problems:
        raise SandboxError("the sandbox's plan is broken", seen="; ".join(map(str, plan.problems)))
    return plan.environment(name)


def _service(name: str, slot: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "type": "NodePort",
            "selector": {"app.kubernetes.io/name": "valeo-erp", "version": slot},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _create(call: Callable[[], object]) -> None:
    try:
        call()
    except ApiException as error:
        if error.status != CONFLICT:
            raise
