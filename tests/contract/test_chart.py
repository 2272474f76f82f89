"""The chart under both helms: what it renders for each slot, and what it refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.errors import ProgramMissing
from include.sandbox.programs import program

CHART = Path(__file__).parents[2] / "include" / "charts" / "valeo-erp"
RELEASE = "valeo-erp-production-green"
DIGEST = "sha256:" + "0123456789abcdef" * 4
NEEDED: Mapping[str, Any] = {"image": {"tag": "3.0.0"}, "database": {"existingSecret": "valeo-erp-database"}}

Rendered = dict[str, dict[str, Any]]


class HelmUnderTest:
    """One helm, used without a cluster."""

    def __init__(self, binary: Path, values: Path) -> None:
        self._binary = binary
        self._values = values

    def run(
        self, *arguments: str, values: Mapping[str, Any], slot: str = "green"
    ) -> subprocess.CompletedProcess[str]:
        """Run with the slot's values file and further values."""
        self._values.write_text(yaml.safe_dump({**NEEDED, **values}))
        files = ["-f", str(CHART / f"values-{slot}.yaml"), "-f", str(self._values)]
        argv = [str(self._binary), *arguments, str(CHART), *files]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    def render(self, slot: str = "green", **values: Any) -> Rendered:
        """The manifests by kind."""
        done = self.run("template", f"valeo-erp-production-{slot}", slot=slot, values=values)
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        found = {document["kind"]: document for document in documents}
        assert len(found) == len(documents)
        return found

    def refuse(self, values: Mapping[str, Any]) -> str:
        """Why the values are refused."""
        done = self.run("template", RELEASE, values=values)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture(params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> HelmUnderTest:
    try:
        return HelmUnderTest(program(request.param), tmp_path / "values.yaml")
    except ProgramMissing as missing:
        pytest.skip(str(missing))


def container(rendered: Rendered) -> dict[str, Any]:
    (only,) = rendered["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_it_lints_with_both_slots_values(helm: HelmUnderTest, slot: str) -> None:
    done = helm.run("lint", "--strict", slot=slot, values={})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_a_slot_is_a_deployment_an_autoscaler_and_its_own_service(helm: HelmUnderTest, slot: str) -> None:
    rendered = helm.render(slot)
    assert set(rendered) == {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Service"}
    name = f"valeo-erp-production-{slot}"
    assert {document["metadata"]["name"] for document in rendered.values()} == {name}
    labels = rendered["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "valeo-erp"
    assert labels["version"] == slot
    assert rendered["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert rendered["Service"]["spec"]["type"] == "ClusterIP"
    assert rendered["Service"]["spec"]["selector"]["app.kubernetes.io/instance"] == name
    assert rendered["ConfigMap"]["data"]["SLOT"] == slot


def test_the_slots_never_select_each_others_pods(helm: HelmUnderTest) -> None:
    selectors = [helm.render(slot)["Deployment"]["spec"]["selector"]["matchLabels"] for slot in ("blue", "green")]
    assert selectors[0]["version"] != selectors[1]["version"]


def test_an_autoscaled_deployment_has_no_replicas(helm: HelmUnderTest) -> None:
    scaled = helm.render(replicaCount=7, autoscaling={"minReplicas": 4})
    assert "replicas" not in scaled["Deployment"]["spec"]
    assert scaled["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 4
    fixed = helm.render(replicaCount=2, autoscaling={"enabled": False})
    assert fixed["Deployment"]["spec"]["replicas"] == 2
    assert "HorizontalPodAutoscaler" not in fixed


def test_a_digest_wins_over_the_tag(helm: HelmUnderTest) -> None:
    assert container(helm.render())["image"] == "valeo-erp:3.0.0"
    pinned = helm.render(image={"tag": "3.0.0", "digest": DIGEST})
    assert container(pinned)["image"] == f"valeo-erp@{DIGEST}"
    assert container(pinned)["imagePullPolicy"] == "IfNotPresent"
    assert container(helm.render(image={"tag": "3.0.0", "digest": ""}))["image"] == "valeo-erp:3.0.0"


def test_a_restart_never_makes_the_slot_smaller_and_leaving_has_its_time(helm: HelmUnderTest) -> None:
    rendered = helm.render()
    strategy = rendered["Deployment"]["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
    pod = rendered["Deployment"]["spec"]["template"]["spec"]
    stop = container(rendered)["lifecycle"]["preStop"]["sleep"]["seconds"]
    limit = float(rendered["ConfigMap"]["data"]["DRAIN_LIMIT_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > stop + limit
    without = helm.render(drain={"preStopSeconds": 0})
    assert "lifecycle" not in container(without)


def test_probes_ask_the_right_questions(helm: HelmUnderTest) -> None:
    found = container(helm.render())
    paths = {name: found[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert found["ports"] == [{"name": "http", "containerPort": 8080}]


def test_the_database_comes_from_a_secret(helm: HelmUnderTest) -> None:
    given = helm.render()
    reference = {entry["name"]: entry for entry in container(given)["env"]}["DATABASE_URL"]["valueFrom"][
        "secretKeyRef"
    ]
    assert reference == {"name": "valeo-erp-database", "key": "url"}
    made = helm.render(database={"url": "postgresql://u:p@h/d", "existingSecret": ""})
    assert made["Secret"]["metadata"]["name"] == f"{RELEASE}-database"
    others = [document for kind, document in made.items() if kind != "Secret"]
    assert "postgresql://u:p" not in yaml.safe_dump(others)


def test_a_changed_configuration_restarts_the_pods(helm: HelmUnderTest) -> None:
    def template(**values: Any) -> Any:
        return helm.render(**values)["Deployment"]["spec"]["template"]

    assert template() == template()
    assert template(config={"FAULTS": "{}"}) != template()
    url = "postgresql://u:p@h/d"
    assert template(database={"url": url}) != template(database={"url": f"{url}2"})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"slot": ""}, "slot"),
        ({"slot": "purple"}, "slot"),
        ({"image": {"tag": ""}}, "image"),
        ({"image": {"tag": "3.0.0", "digest": "abc"}}, "digest"),
        ({"image": {"tag": "not a tag"}}, "tag"),
        ({"database": {}}, "database"),
        ({"database": {"url": "mysql://x"}}, "url"),
        ({"config": {"DATABASE_URL": "x"}}, "DATABASE_URL"),
        ({"labels": {"version": "green"}}, "labels"),
        ({"replicaCount": "three"}, "replicaCount"),
        ({"autoscaling": {"minReplicas": 9}}, "must not be less than minReplicas"),
        ({"drain": {"limitSeconds": 60}}, "must be more than preStopSeconds"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: HelmUnderTest, values: dict[str, Any], sentence: str) -> None:
    assert sentence in helm.refuse(values)
