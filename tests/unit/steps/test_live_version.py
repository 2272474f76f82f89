"""A release is stopped before it replaces a version about which nothing was proven."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.bluegreen.state import HelmRevision, ServiceState
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import PreflightFailed, TrafficServiceMissing
from include.steps.live_version import check_previous, must_replace_what_runs
from include.steps.run import ReleaseRun
from tests.unit.steps.staging.rehearsals import a_run
from tests.unit.steps.watching import release_run

RUN = release_run()
REPOSITORY = RUN.release.image.repository


class World:
    """Helm and cluster in one: a slot with a Deployment and revisions."""

    def __init__(self, *images: str, label: str = "") -> None:
        self.images, self.label = images, label
        self.traffic: ServiceState | None = cast(
            Any, SimpleNamespace(name="erp", selector=RUN.environment.traffic.selector_for("blue"))
        )

    async def deployment(self, name: str) -> Any:
        assert name == RUN.environment.slot_release("blue")
        return SimpleNamespace(images=self.images) if self.images else None

    async def service(self, _: str) -> ServiceState | None:
        return self.traffic

    async def history(self, _: str) -> list[HelmRevision]:
        return [HelmRevision(1, "superseded"), HelmRevision(2, "deployed"), HelmRevision(3, "failed")]

    async def values(self, _: str, revision: int) -> dict[str, Any]:
        assert revision == 2
        return {"image": {"tag": self.label}}


async def severities(world: World, run: ReleaseRun = RUN, *, helm: bool = True) -> list[str]:
    tool = cast(Helm, world) if helm else None
    return [one.severity for one in await check_previous(run, cast(Cluster, world), tool, "blue")]


@pytest.mark.parametrize(
    ("image", "label", "expected"),
    [
        (":2.9.0", "", []),
        ("@sha256:ab", "2.9.0", []),
        (":2.9.1", "", ["block"]),
        (":2.9.1", "2.9.0", ["block"]),
        ("@sha256:ab", "2.9.1", ["block"]),
        (":3.0.0", "", ["warn"]),
        (":4f2a91c", "", ["warn"]),
        ("@sha256:ab", "", ["warn"]),
        ("-somewhere-else:2.9.1", "", ["warn"]),
    ],
)
async def test_another_version_stops_the_release_and_an_unknown_one_is_told(
    image: str, label: str, expected: list[str]
) -> None:
    assert await severities(World(f"{REPOSITORY}{image}", label=label)) == expected


async def test_without_helm_a_digest_tells_nothing() -> None:
    assert await severities(World(f"{REPOSITORY}@sha256:ab", label="2.9.1"), helm=False) == ["warn"]


async def test_a_slot_without_a_deployment_is_told() -> None:
    assert await severities(World()) == ["warn"]


@pytest.mark.parametrize("gate", ["automatic", "people"])
async def test_in_staging_releases_come_and_go(gate: str) -> None:
    run = a_run()
    update: dict[str, Any] = {"helm_release": RUN.environment.helm_release}
    if gate == "people":
        update["gate"] = run.environment.gate.model_copy(update={"automatic": None})
    staging = replace(run, environment=run.environment.model_copy(update=update))
    assert await severities(World(f"{run.release.image.repository}:2.9.1"), staging) == ["warn"]


async def test_nothing_is_migrated_under_a_version_that_was_not_rehearsed_with() -> None:
    world = World(f"{REPOSITORY}:2.9.0")
    helm, cluster = cast(Helm, world), cast(Cluster, world)
    assert await must_replace_what_runs(RUN, cluster, helm) == ()
    world.images = (f"registry.example.com/{REPOSITORY}@sha256:{'ab' * 32}",)
    for tool in (helm, None):
        (warning,) = await must_replace_what_runs(RUN, cluster, tool)
        assert warning == (
            "whether users are on 2.9.0 cannot be told: slot blue runs valeo-erp@abababababab; "
            "do: make sure before you decide (previous-version)"
        )
    world.images = (f"{REPOSITORY}:2.9.1",)
    with pytest.raises(
        PreflightFailed, match=r"users are on 2\.9\.1, and the release says that it replaces 2\.9\.0"
    ):
        await must_replace_what_runs(RUN, cluster, helm)
    world.traffic = None
    with pytest.raises(TrafficServiceMissing):
        await must_replace_what_runs(RUN, cluster, helm)


async def test_an_environment_may_accept_tags_that_only_look_like_versions() -> None:
    reasons = {"previous-version": "tags count builds", "hook": "another rule's"}
    run = replace(RUN, environment=RUN.environment.model_copy(update={"chart_accept": reasons}))
    world = World(f"{REPOSITORY}:1.0.4711")
    (warning,) = await must_replace_what_runs(run, cast(Cluster, world), None)
    assert "accepted: tags count builds" in warning
    with pytest.raises(PreflightFailed):
        await must_replace_what_runs(RUN, cast(Cluster, world), None)
