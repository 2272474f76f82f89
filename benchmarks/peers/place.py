"""Where a contender works: a namespace of the sandbox's cluster, the application's chart, images, Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.kube import Document, chart_objects
from benchmarks.peers.scenarios import FAULT_RATIO, PHASES, Build
from include.sandbox.environment import CHART, Sandbox
from include.sandbox.erp.build import build_folder
from include.sandbox.erp.versions import ENTRYPOINT, REPOSITORY, VERSIONS
from include.sandbox.world import create_world

OLD_TAG: Final = "2.9.0"
REPLICAS: Final = 3
_LATE: Final = 300  # requests of each process: more than an analysis before the promotion sends
_CRASH: Final = {"value": 0.5, "after_requests": 150}


@dataclass(frozen=True)
class Place:
    """A contender's namespace.

    :param database_url: as pods reach it
    :param prometheus_url: the proxy before Prometheus, the same for all
    """

    kubeconfig: Path
    namespace: str
    database_url: str
    prometheus_url: str
    logs: Path

    @classmethod
    def of(cls, sandbox: Sandbox, namespace: str, prometheus_url: str) -> Place:
        """A namespace of the sandbox."""
        database = sandbox.postgres.url("valeo_erp", host=sandbox.cluster.host_address)
        logs = sandbox.options.state / "logs"
        return cls(sandbox.cluster.kubeconfig, namespace, database, prometheus_url, logs)

    def create(self) -> None:
        """Create the namespace with the database's Secret."""
        create_world(self.kubeconfig, self.namespace, self.database_url, "127.0.0.1")

    def image(self, tag: str) -> str:
        """The image's reference."""
        return f"{REPOSITORY}:{tag}"

    def application(self, name: str, tag: str, **further: Any) -> tuple[list[Document], Document]:
        """What the chart renders: everything beside the Deployment, and the Deployment.

        :param further: values besides those that all contenders have
        """
        values: dict[str, Any] = {
            "slot": "blue",
            "image": {"repository": REPOSITORY, "tag": tag},
            "replicaCount": REPLICAS,
            "autoscaling": {"enabled": False},
            "database": {"existingSecret": "valeo-erp-database"},
            **further,
        }
        objects = chart_objects(self.kubeconfig, self.namespace, name, CHART, values)
        (deployment,) = (one for one in objects if one["kind"] == "Deployment")
        return [one for one in objects if one is not deployment], deployment


def tag_of(build: Build, number: int) -> str:
    """The tag of the image a round promotes; each round of a build has its own."""
    minor = {"good": 1, "faulty": 2, "late-faulty": 3, "crashing": 4}[build]
    return f"3.{minor}.{number % len(PHASES)}"


def faults_of(build: Build, number: int) -> Mapping[str, object]:
    """The faults built into it."""
    after = PHASES[number % len(PHASES)]
    if build == "faulty":
        return {"error_ratio": {"value": FAULT_RATIO, "after_requests": after}}
    if build == "late-faulty":
        return {"error_ratio": {"value": FAULT_RATIO, "after_requests": _LATE}}
    return {"crash_after_seconds": _CRASH} if build == "crashing" else {}


def import_images(sandbox: Sandbox, wanted: set[tuple[Build, int]]) -> None:
    """Put the images of all rounds into the cluster: one content, different faults."""
    import json

    base = VERSIONS["3.0.0"]
    folder = build_folder(base)
    for build, number in sorted(wanted):
        tag = tag_of(build, number)
        env = {**base.env, "APP_VERSION": tag}
        if faults := faults_of(build, number):
            env["FAULTS"] = json.dumps(faults, sort_keys=True)
        sandbox.cluster.import_image(f"{REPOSITORY}:{tag}", folder, entrypoint=ENTRYPOINT, env=env)
