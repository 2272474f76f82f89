"""Bad input ends early, in a named error that says what was expected, what was seen and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from include.sandbox.airflow_client import AirflowClient, AirflowRefused
from include.sandbox.environment import CHART, Sandbox
from include.sandbox.people import RELEASE_MANAGER, answer_gate
from tests.e2e.conftest import World
from tests.e2e.worlds import staging_like_production
from tests.tiers import further

FAILED = frozenset({"failed"})
DAG = "production-blue-green"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client(RELEASE_MANAGER) as session:
        yield session


@pytest.fixture(autouse=True)
def traffic_stays(world: World) -> Iterator[None]:
    """Whatever was wrong: users notice nothing."""
    before = world.service().selector
    yield
    assert world.service().selector == before


@pytest.mark.parametrize(
    "conf",
    [
        {"release": "9.9.9", "environment": "production"},
        {"release": "3.0.0", "environment": "moon"},
        {"release": "3.0", "environment": "production"},
        {"release": "3.0.0; rm -rf /", "environment": "production"},
        {"release": "3.0.0"},
        {},
    ],
)
def test_the_form_refuses_what_the_plan_does_not_know(client: AirflowClient, conf: dict[str, str]) -> None:
    with pytest.raises(AirflowRefused) as refused:
        client.trigger(DAG, conf)
    assert refused.value.status == 400


def test_a_misspelt_parameter_is_refused_by_the_first_task(client: AirflowClient) -> None:
    run = client.trigger(DAG, {"release": "3.0.0", "environment": "production", "watch_second": 5})
    client.wait_for_run(run, deadline_seconds=90, states=FAILED)
    assert "PlanError: unknown parameter" in client.log(run, "preflight")


def test_a_release_that_was_removed_after_the_form_was_made(sandbox: Sandbox, client: AirflowClient) -> None:
    (sandbox.plan_folder / "releases" / "3.0.9.yaml").unlink()
    run = client.trigger(DAG, {"release": "3.0.9", "environment": "production"})
    client.wait_for_run(run, deadline_seconds=90, states=FAILED)
    log = client.log(run, "preflight")
    # A worker that reads the DAG file again refuses it by the form's own schema, before the task begins.
    assert "UnknownRelease" in log or "'3.0.9' is not one of" in log


def _broken_chart(folder: Path) -> Path:
    shutil.copytree(CHART, folder)
    (folder / "templates" / "broken.yaml").write_text(
        'value: {{ required "set the value of broken" .Values.nope }}\n'
    )
    return folder


def _unsafe_chart(folder: Path) -> Path:
    """A chart that renders, and that could not be switched."""
    shutil.copytree(CHART, folder)
    deployment = folder / "templates" / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("readinessProbe:", "readynessProbe:"))
    (folder / "templates" / "shared.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\n"
    )
    return folder


def test_everything_that_is_wrong_with_a_chart_is_in_one_error(
    sandbox: Sandbox, client: AirflowClient, tmp_path: Path
) -> None:
    with staging_like_production(sandbox, {"chart": str(_unsafe_chart(tmp_path / "chart"))}):
        run = client.trigger(DAG, {"release": "3.0.0", "environment": "staging"})
        client.wait_for_run(run, deadline_seconds=180, states=FAILED)
    log = client.log(run, "preflight")
    assert "PreflightFailed" in log
    for rule in ("readiness-probe", "slots-share-object", "api-refuses"):
        assert f"({rule})" in log


@pytest.mark.parametrize("fault", ["unreachable", *further("chart", "service", "connection", "kubeconfig")])
def test_an_environment_that_cannot_be_released_to(
    sandbox: Sandbox, client: AirflowClient, tmp_path: Path, fault: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with sandbox.airflow.client() as admin:
        if fault == "unreachable":
            content = yaml.safe_load(sandbox.cluster.kubeconfig.read_text())
            content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
            kubeconfig.write_text(yaml.safe_dump(content))
        admin.request(
            "POST",
            "connections",
            json={
                "connection_id": f"kubernetes_{fault}",
                "conn_type": "kubernetes",
                "extra": f'{{"kube_config_path": "{kubeconfig}"}}',
            },
        )
    changes, expected = {
        "chart": ({"chart": str(_broken_chart(tmp_path / "chart"))}, "ChartError"),
        "service": ({"traffic": {"service": "nobody-made-me"}}, "TrafficServiceMissing"),
        "connection": (
            {"connections": {"kubernetes": "not_defined"}},
            "ClusterRefused: Airflow connection not_def",
        ),
        "kubeconfig": (
            {"connections": {"kubernetes": "kubernetes_kubeconfig"}},
            "ClusterUnreachable: the kubeconfig",
        ),
        "unreachable": ({"connections": {"kubernetes": "kubernetes_unreachable"}}, "ClusterUnreachable"),
    }[fault]
    with staging_like_production(sandbox, changes):
        run = client.trigger(DAG, {"release": "3.0.0", "environment": "staging"})
        client.wait_for_run(run, deadline_seconds=180, states=FAILED)
    log = client.log(run, "preflight")
    assert expected in log
    assert "do: " in log, "the log has to say what to do"


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        pytest.param("3.0.7", "ImageMissing", id="missing image tag", marks=pytest.mark.exhaustive),
        pytest.param("3.0.8", "SlotNotReady", id="pods never ready"),
    ],
)
def test_a_version_that_does_not_come_up_never_gets_traffic(
    sandbox: Sandbox, client: AirflowClient, release: str, expected: str
) -> None:
    run = client.trigger(DAG, {"release": release, "environment": "production"})
    answer_gate(sandbox.airflow, run)
    client.wait_for_run(run, deadline_seconds=240, states=FAILED)
    assert expected in client.log(run, "deploy_idle_slot")
    assert {t.task_id: t.state for t in client.tasks(run)}["cutover"] == "upstream_failed"
