"""One sandbox for the whole suite, driven over Airflow's REST API only, as people and the UI do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.sandbox.environment import Options, Sandbox
from include.sandbox.erp.build import build_images
from include.sandbox.external_cluster import named_kubeconfig
from tests.e2e.erp import Erp
from tests.e2e.worlds import BAD_VERSIONS, EXTRA_RELEASES, replace_what_runs, write_release, write_staging

WATCH_SECONDS = 20.0


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Everything, once: cluster, database, demo ERP 2.9.0 in blue, sinks, Airflow."""
    state = tmp_path_factory.mktemp("sandbox")
    extra = state / "extra-plan"
    for release in EXTRA_RELEASES:
        write_release(extra, release)
    write_staging(extra)
    namespace = f"e2e-{os.getpid()}" if named_kubeconfig() else "production"
    options = Options(
        state=state / "run", namespace=namespace, watch_seconds=WATCH_SECONDS, gate_seconds=90, extra_plan=extra
    )
    with Sandbox(options) as sandbox:
        build_images(sandbox.cluster.import_image, BAD_VERSIONS)
        yield sandbox


class World:
    """What the tests look at beside Airflow: the traffic Service and the inbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def service(self, name: str = "valeo-erp") -> ServiceState:
        """The traffic Service (or another one) as it is now."""

        async def read() -> ServiceState:
            options, cluster = self._sandbox.options, self._sandbox.cluster
            async with Cluster.from_kubeconfig(cluster.kubeconfig, options.namespace) as client:
                found = await client.service(name)
                assert found is not None
                return found

        return asyncio.run(read())

    def active(self) -> Slot:
        """The slot that takes traffic."""
        return active_slot(self.service(), self._sandbox.environment.traffic)

    def versions(self, slot: Slot) -> set[str]:
        """What the pods of a slot run, by the tags of their images; empty when there are none."""

        async def read() -> set[str]:
            options, traffic = self._sandbox.options, self._sandbox.environment.traffic
            async with Cluster.from_kubeconfig(self._sandbox.cluster.kubeconfig, options.namespace) as client:
                pods = await client.pods(traffic.selector_for(slot))
                return {pod.image.rpartition(":")[2] for pod in pods if not pod.deleting}

        return asyncio.run(read())

    def inbox(self, kind: str) -> list[str]:
        """Texts of the messages that arrived, oldest first."""
        folder: Path = self._sandbox.inbox / kind
        return [file.read_text() for file in sorted(folder.glob("*"))] if folder.is_dir() else []


@pytest.fixture(autouse=True)
def _releases_fit(request: pytest.FixtureRequest) -> None:
    """A release replaces what users are on, whichever tests came before."""
    if "sandbox" not in request.fixturenames:
        return
    sandbox = request.getfixturevalue("sandbox")
    world = World(sandbox)
    running = world.versions(world.active())
    if len(running) == 1:
        replace_what_runs(sandbox.plan_folder, running.pop())


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    """The world beside Airflow."""
    return World(sandbox)


@pytest.fixture
def erp(sandbox: Sandbox) -> Erp:
    """The application beside Airflow."""
    return Erp(sandbox)
