"""Preflight against a real cluster: all that is wrong with a chart is found at once, and nothing is written."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.chart.finding import Finding, accepted, failed
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.plan.loader import load_plan, plan_folder
from include.report.preview import Preview, markdown
from include.steps.chart_preflight import ChartCheck, check_chart, lacking_rights
from include.steps.plan_preview import plan_preview
from include.steps.run import ReleaseRun, open_run
from tests.contract.support import HelmCommand, Kubectl

CHART = Path(__file__).parents[2] / "include" / "charts" / "valeo-erp"
DEPLOYMENT = "templates/deployment.yaml"


@pytest.fixture(scope="module")
def world(kubectl: Kubectl) -> Kubectl:
    """The two Services, as a team has them before it meets Stellwerk."""
    for name, slot in (("valeo-erp", "blue"), ("valeo-erp-preview", "green")):
        selector = {"app.kubernetes.io/name": "valeo-erp", "version": slot}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": selector, "ports": ports},
            }
        )
    return kubectl


class Preflight:
    """The preflight of a chart that may be changed before."""

    def __init__(self, kubectl: Kubectl, helm: HelmCommand, folder: Path) -> None:
        plan = load_plan(plan_folder())
        run = open_run(
            plan,
            release="3.0.0",
            environment="production",
            phase="production-blue-green",
            run_id="contract",
            triggered_by="rm",
        )
        environment = run.environment.model_copy(update={"namespace": kubectl.namespace})
        shutil.copytree(CHART, folder)
        self.run: ReleaseRun = replace(run, environment=environment, chart=folder)
        self.kubeconfig = kubectl.kubeconfig
        self.helm = Helm(helm.binary, helm.kubeconfig, kubectl.namespace)

    def write(self, file: str, content: str) -> None:
        (self.run.chart / file).write_text(content)

    def change(self, file: str, old: str, new: str) -> None:
        path = self.run.chart / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def configure(self, **update: Any) -> None:
        self.run = replace(self.run, environment=self.run.environment.model_copy(update=update))

    def check(self, kubeconfig: Path | None = None) -> ChartCheck:
        async def checked() -> ChartCheck:
            async with Cluster.from_kubeconfig(
                kubeconfig or self.kubeconfig, self.run.environment.namespace
            ) as cluster:
                services = [await cluster.service(name) for name in ("valeo-erp", "valeo-erp-preview")]
                return await check_chart(self.run, cluster, self.helm, "green", [one for one in services if one])

        return asyncio.run(checked())

    def blocking(self) -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {}
        for one in self.check().findings:
            if one.severity == "block":
                found.setdefault(one.rule, []).append(one)
        return found


@pytest.fixture
def preflight(world: Kubectl, helm: HelmCommand, tmp_path: Path) -> Iterator[Preflight]:
    def objects() -> str:
        return world("get", "all,secrets,configmaps,horizontalpodautoscalers", "-o", "name")

    before = objects()
    yield Preflight(world, helm, tmp_path / "valeo-erp")
    assert objects() == before, "nothing was written"


def test_the_chart_that_ships_passes(preflight: Preflight) -> None:
    checked = preflight.check()
    assert [one.rule for one in checked.findings] == ["image-tag"], checked.findings
    assert failed(checked.findings) is None
    assert {one.source for one in checked.manifests} == {
        f"valeo-erp/templates/{name}.yaml" for name in ("configmap", "deployment", "hpa", "service")
    }


def test_everything_that_is_wrong_is_told_at_once(preflight: Preflight) -> None:
    preflight.change(DEPLOYMENT, "readinessProbe:", "startupProbe2:")
    preflight.change(DEPLOYMENT, "name: http\n", "name: web\n")
    preflight.change("templates/service.yaml", "port: {{ .Values.service.port }}", "port: 70000")
    preflight.change("templates/hpa.yaml", "maxReplicas: {{ $scaling.maxReplicas }}", "maxReplicas: many")
    preflight.write(
        "templates/migrate.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-migrate\n  annotations: "
        "{helm.sh/hook: pre-upgrade}\nspec: {template: {spec: {restartPolicy: Never, containers: "
        "[{name: m, image: 'valeo-erp'}]}}}\n",
    )
    preflight.write(
        "templates/shared.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: b}\n"
    )
    preflight.write(
        "templates/elsewhere.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-x', namespace: nowhere}\n",
    )
    preflight.write("templates/bogus.yaml", "apiVersion: x.example/v1\nkind: Bogus\nmetadata: {name: b}\n")
    found = preflight.blocking()
    for rule in ("readiness-probe", "port-name", "hook", "slots-share-object", "image-tag", "unknown-kind"):
        assert rule in found, rule
    refused = {one.file.rpartition("/")[2]: one.what for one in found["api-refuses"]}
    assert set(refused) == {"deployment.yaml", "service.yaml", "hpa.yaml", "elsewhere.yaml"}
    assert "startupProbe2" in refused["deployment.yaml"]
    assert "70000" in refused["service.yaml"]
    assert "maxReplicas" in refused["hpa.yaml"]
    assert "nowhere" in refused["elsewhere.yaml"]
    error = failed([one for ones in found.values() for one in ones])
    for rule, ones in found.items():
        for one in ones:
            assert one.remedy, rule
            assert one.file or one.object, rule
            assert str(one) in str(error)


@pytest.mark.parametrize(
    ("break_it", "kind", "file"),
    [
        (
            lambda p: p.write("templates/x.yaml", "a: {{ .Values.not.there }}\n"),
            "ChartValueMissing",
            "templates/x.yaml",
        ),
        (lambda p: p.write("templates/x.yaml", "kind: [\n"), "ChartError", "templates/x.yaml"),
        (lambda p: p.write("values.yaml", "- a\n"), "ChartValuesInvalid", "Chart.yaml"),
        (
            lambda p: p.change("Chart.yaml", "type: application", 'kubeVersion: ">=1.99.0"'),
            "ChartKubeVersion",
            "Chart.yaml",
        ),
        (
            lambda p: p.change(
                "Chart.yaml",
                "type: application",
                "dependencies: [{name: db, version: 1.0.0, repository: 'https://charts.example.com'}]",
            ),
            "ChartDependencyMissing",
            "Chart.yaml",
        ),
        (lambda p: _truncated(p.run.chart), "ChartUnreadable", "Chart.yaml"),
        (lambda p: shutil.rmtree(p.run.chart), "ChartUnreadable", "Chart.yaml"),
    ],
    ids=[
        "undefined value",
        "no YAML",
        "values list",
        "kube version",
        "dependency",
        "truncated archive",
        "missing",
    ],
)
def test_a_chart_that_does_not_render_is_told_by_name(
    preflight: Preflight, break_it: Callable[[Preflight], None], kind: str, file: str
) -> None:
    break_it(preflight)
    (only,) = preflight.blocking()["render"]
    assert kind in only.what
    assert only.file.endswith(file)
    assert only.remedy


def _truncated(chart: Path) -> None:
    (chart / "charts").mkdir()
    whole = shutil.make_archive(str(chart.parent / "db"), "gztar", chart.parent, "valeo-erp")
    (chart / "charts" / "db-1.0.0.tgz").write_bytes(Path(whole).read_bytes()[:1500])


def test_an_object_of_another_release_and_an_immutable_field(preflight: Preflight, world: Kubectl) -> None:
    name = "valeo-erp-production-green"
    ports = [{"name": "http", "port": 80}]
    world.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports}},
    )
    try:
        found = preflight.blocking()
    finally:
        world("delete", "service", name)
    (only,) = found["helm-dry-run"]
    assert "ownership" in only.what


def test_what_the_environment_accepts_is_a_warning_with_its_reason(preflight: Preflight) -> None:
    preflight.write(
        "templates/migrate.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-seed\n  annotations: "
        "{helm.sh/hook: post-install}\nspec: {template: {spec: {restartPolicy: Never, containers: "
        "[{name: m, image: 'valeo-erp:3.0.0'}]}}}\n",
    )
    findings = preflight.check().findings
    assert failed(accepted(findings, {})) is not None
    after = accepted(findings, {"hook": "only seeds a cache"})
    assert failed(after) is None
    assert any("only seeds a cache" in one.what for one in after)


def test_a_missing_right_is_named_with_verb_and_resource(
    preflight: Preflight, world: Kubectl, tmp_path: Path
) -> None:
    config = yaml.safe_load(world.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": world("create", "token", "default").strip()}
    powerless = tmp_path / "powerless"
    powerless.write_text(yaml.safe_dump(config))

    async def rights() -> list[Finding]:
        async with Cluster.from_kubeconfig(powerless, world.namespace) as cluster:
            return await lacking_rights(preflight.run, cluster)

    lacking = [one.what for one in asyncio.run(rights())]
    for right in (
        "get on pods/log",
        "patch on deployments.apps",
        "create on secrets",
        "patch on deployments/scale",
    ):
        assert any(right in what for what in lacking), right
    assert not [one for one in preflight.check().findings if one.rule == "permission"]


def test_the_preview_tells_what_the_release_changes_from_what_helm_holds(
    world: Kubectl, helm: HelmCommand, tmp_path: Path
) -> None:
    preflight = Preflight(world, helm, tmp_path / "valeo-erp")
    run = preflight.run
    name = run.environment.slot_release("blue")
    before = run.values("blue")
    before["image"]["tag"] = "2.9.0"
    before["database"] = {"url": "postgresql://erp:hunter2hunter2@db/erp"}
    before["config"] = {"LOG_LEVEL": "info"}

    async def shown() -> Preview:
        await preflight.helm.upgrade_install(name, run.chart, before, wait=False)
        try:
            after = await preflight.helm.template(
                run.environment.slot_release("green"), run.chart, run.values("green")
            )
            async with Cluster.from_kubeconfig(world.kubeconfig, world.namespace) as cluster:
                return await plan_preview(
                    run, cluster, preflight.helm, active="blue", after=after, ready=3, options=()
                )
        finally:
            await preflight.helm.uninstall(name)

    found = asyncio.run(shown())
    assert {one.object: one.change for one in found.changes} == {
        "ConfigMap/<release>": "changed",
        "Deployment/<release>": "changed",
        "HorizontalPodAutoscaler/<release>": "changed",
        "Service/<release>": "changed",
        "Secret/<release>-database": "removed",
    }
    text = markdown(found)
    assert "-  LOG_LEVEL: info" in text
    assert "valeo-erp:2.9.0" in text
    assert "hunter2" not in text
    assert found.capacity.now == (3, 8) == found.capacity.then
    world.until(lambda: not world.items("pods"), "the pods are gone")
