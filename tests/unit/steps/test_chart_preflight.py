"""The parts of the chart's preflight that decide what is told, over a helm and a server that answer as told."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from include.chart.manifest import Manifest
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.clients.kubernetes.discovery import Api, Resource
from include.errors import (
    ChartError,
    ChartValueMissing,
    ClusterRefused,
    ClusterUnreachable,
    HelmPending,
    PreflightFailed,
    StellwerkError,
)
from include.plan.loader import load_plan, plan_folder
from include.plan.slots import Slot
from include.steps.chart_preflight import ChartCheck, check_chart
from include.steps.preflight import refuse, surroundings
from include.steps.run import ReleaseRun, open_run
from tests.unit.chart.charts import chart, manifest, thing

RUN: ReleaseRun = open_run(
    load_plan(plan_folder()),
    release="3.0.0",
    environment="production",
    phase="production-blue-green",
    run_id="r1",
    triggered_by="rm",
)
KINDS = (
    ("v1", "Service", "services"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("apps/v1", "Deployment", "deployments"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
)


class World:
    """Helm, cluster and inspector in one: what they are asked, and what they answer."""

    def __init__(self) -> None:
        self.more: list[dict[str, Any]] = []
        self.template_error: StellwerkError | None = None
        self.dry_run_error: StellwerkError | None = None
        self.refusals: dict[str, str] = {}
        self.denied: set[tuple[str, str]] = set()

    async def template(self, name: str, *_: object, **__: object) -> tuple[Manifest, ...]:
        if self.template_error:
            raise self.template_error
        slot: Slot = "green" if name.endswith("green") else "blue"
        documents = chart(slot)
        image = RUN.release.image.reference
        documents[0]["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return tuple(manifest(one) for one in [*documents, *self.more])

    async def dry_run(self, *_: object) -> None:
        if self.dry_run_error:
            raise self.dry_run_error

    def inspector(self) -> World:
        return self

    async def server_version(self) -> str:
        return "v1.34.4"

    async def api(self) -> Api:
        return Api({(version, kind): Resource(version, kind, plural, True) for version, kind, plural in KINDS})

    async def refusal(self, one: Manifest, _: Resource) -> str | None:
        return self.refusals.get(one.kind)

    async def may(self, _: str, resource: str, verb: str, **__: object) -> bool:
        return (resource, verb) not in self.denied

    async def check(self, run: ReleaseRun = RUN) -> ChartCheck:
        return await check_chart(run, cast(Cluster, self), cast(Helm, self), "green", ())

    async def blocking(self) -> dict[str, str]:
        return {one.rule: str(one) for one in (await self.check()).findings if one.severity == "block"}


async def test_a_good_chart_passes_with_its_objects() -> None:
    checked = await World().check()
    assert [one.severity for one in checked.findings] == ["warn"], "only that the image is not pinned"
    assert len(checked.manifests) == 4


async def test_faults_of_every_origin_are_in_one_list() -> None:
    world = World()
    world.more = [thing("ConfigMap", "shared"), thing("Bogus", "b", "x/v1")]
    world.dry_run_error = ChartError("dry run", seen="chart/templates/a.yaml: owned by others", remedy="settle it")
    world.refusals = {"Service": "spec.ports[0].port: Invalid value: 70000"}
    world.denied = {("pods/log", "get"), ("configmaps", "create")}
    found = await world.blocking()
    rules = {"slots-share-object", "unknown-kind", "helm-dry-run", "api-refuses", "permission"}
    assert rules == set(found)
    assert "70000" in found["api-refuses"]
    assert found["helm-dry-run"].startswith("chart/templates/a.yaml")
    lacking = [str(one) for one in (await world.check()).findings if one.rule == "permission"]
    assert any("verb get on pods/log in namespace production" in one for one in lacking)
    assert any("verb create on configmaps" in one and "installs ConfigMap/" in one for one in lacking)


async def test_a_chart_that_does_not_render_is_told_once_beside_the_missing_rights() -> None:
    world = World()
    words = 'Error: erp/templates/a.yaml:4:13 executing "a" at <.Values.a.b>: nil pointer'
    world.template_error = ChartValueMissing("helm template failed", seen=words, remedy="set it")
    world.denied = {("services", "patch")}
    checked = await world.check()
    assert [one.rule for one in checked.findings] == ["render", "permission"]
    assert checked.findings[0].file == "erp/templates/a.yaml"
    assert "ChartValueMissing" in checked.findings[0].what


async def test_a_pending_helm_release_is_recovered_later_and_blocks_nothing() -> None:
    world = World()
    world.dry_run_error = HelmPending("helm upgrade failed", seen="another operation is in progress")
    assert await world.blocking() == {}
    assert "helm-pending" in {one.rule for one in (await world.check()).findings}


async def test_a_right_that_helm_misses_is_told_by_the_rights_alone() -> None:
    world = World()
    seen = 'secrets is forbidden: User "x" cannot list resource "secrets"'
    world.dry_run_error = ClusterRefused("helm upgrade failed", seen=seen, status=403)
    world.denied = {("secrets", "list")}
    assert set(await world.blocking()) == {"permission"}


async def test_a_cluster_that_does_not_answer_is_no_finding() -> None:
    world = World()
    world.dry_run_error = ClusterUnreachable("helm upgrade failed")
    with pytest.raises(ClusterUnreachable):
        await world.check()


async def test_the_servers_words_repeat_no_secret() -> None:
    world = World()
    hidden = base64.b64encode(b"hunter2-hunter2").decode()
    world.more = [thing("Secret", "s", data={"key": hidden})]
    world.refusals = {"Secret": f'.data.key: expected bytes, got "{hidden}"'}
    found = await world.blocking()
    assert hidden not in found["api-refuses"]


def test_the_world_around_the_slots_is_told_with_the_rest() -> None:
    found = surroundings(RUN.environment.traffic, None, active="blue", ready=0)
    with pytest.raises(PreflightFailed) as caught:
        refuse(RUN, found)
    assert "the preview Service does not exist" in str(caught.value)
    assert "slot blue has no ready endpoint" in str(caught.value)
    assert refuse(RUN, []) == []


async def test_warnings_become_facts() -> None:
    (fact,) = refuse(RUN, (await World().check()).findings)
    assert fact.startswith("warning: ")
    assert "not pinned" in fact
