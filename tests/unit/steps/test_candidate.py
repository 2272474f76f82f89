"""What the cluster says against a revision holds no secret that it was made from, whatever is left of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from include.bluegreen.state import HelmRevision
from include.chart.manifest import Manifest
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.kubernetes.discovery import Api, Resource
from include.plan.kept import Kept
from include.steps.candidate import find_candidate
from include.steps.run import ReleaseRun
from tests.unit.chart.charts import deployment, manifest
from tests.unit.steps.watching import release_run

PLANNED = {"databaseUrl": "postgresql://erp:planned@db/erp"}
STORED = {"databaseUrl": "postgresql://erp:stored@db/erp"}


def with_values(run: ReleaseRun, values: dict[str, Any]) -> ReleaseRun:
    return replace(run, environment=run.environment.model_copy(update={"values": values}))


def kept(run: ReleaseRun) -> ReleaseRun:
    found = Kept.load(Kept(run.release, run.environment).dump())
    assert found is not None
    return replace(run, release=found.release, environment=found.environment)


class World:
    """Helm, cluster and inspector in one: an old slot whose revision the server refuses with its values."""

    async def history(self, _: str) -> list[HelmRevision]:
        return [HelmRevision(3, "superseded", app_version="2.9.0")]

    async def manifest(self, _: str, __: int) -> tuple[Manifest, ...]:
        old = deployment("blue")
        old["spec"]["template"]["spec"]["containers"][0]["image"] = "erp:2.9.0"
        return (manifest(old),)

    async def values(self, _: str, __: int) -> dict[str, Any]:
        return STORED

    def inspector(self) -> World:
        return self

    async def api(self) -> Api:
        return Api({("apps/v1", "Deployment"): Resource("apps/v1", "Deployment", "deployments", True)})

    async def refusal(self, *_: object) -> str:
        values = (STORED["databaseUrl"], PLANNED["databaseUrl"])
        return f"env[0].value: Invalid value: {values[0]}, was {values[1]}"


@pytest.mark.parametrize("plan", ["whole", "kept"])
async def test_a_refusal_is_told_without_what_the_revision_was_made_from(
    plan: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = with_values(release_run(), PLANNED)
    run, world = kept(run) if plan == "kept" else run, World()
    found = await find_candidate(run, cast("Cluster", world), cast("Helm", world), "blue", version="2.9.0")
    told = f"{found.reason}\n{caplog.text}"
    assert not found.usable
    assert "Invalid value: ***, was" in found.reason
    assert "stored" not in told
    assert plan == "kept" or "planned" not in told
