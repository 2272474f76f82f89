from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from include.errors import InvalidPlan, UnknownEnvironment, UnknownRelease
from include.plan.loader import load_plan, plan_folder
from tests.unit.plan.test_models import ENVIRONMENT, RELEASE


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "releases").mkdir()
    (tmp_path / "environments").mkdir()
    (tmp_path / "charts" / "erp").mkdir(parents=True)
    (tmp_path / "charts" / "erp" / "Chart.yaml").write_text("name: erp\n")
    (tmp_path / "releases" / "3.0.0.yaml").write_text(yaml.safe_dump(RELEASE, sort_keys=False))
    (tmp_path / "environments" / "production.yaml").write_text(yaml.safe_dump(ENVIRONMENT, sort_keys=False))
    return tmp_path


def problem(folder):
    plan = load_plan(folder)
    assert len(plan.problems) == 1
    return plan.problems[0].what


class TestThePlanThatShips:
    plan = load_plan(plan_folder())

    def test_is_whole(self):
        assert self.plan.problems == ()
        assert set(self.plan.environments) == {"staging", "production"}
        assert self.plan.release("3.0.0").previous == "2.9.0"

    def test_says_what_the_deployment_plan_says(self):
        production = self.plan.environment("production")
        assert (production.namespace, production.replicas) == ("production", 3)
        assert production.traffic.public_url == "https://erp.valeo.example.com"
        assert production.traffic.preview_url == "https://erp-green.valeo.example.com"
        assert production.messages.status_channel == "#valeo-erp-status"
        assert production.messages.alerts_channel == "#valeo-erp-alerts"
        assert set(production.gate.roles) == {"technical-lead", "business-owner", "on-call-lead"}
        triggers, criteria = production.slo.triggers, production.slo.criteria
        assert (triggers.error_rate.limit, triggers.p95_seconds.limit, triggers.down_seconds) == (0.05, 2.0, 300)
        assert (criteria.error_rate.limit, criteria.p95_seconds.limit) == (0.01, 0.5)
        limits = {name: rule.limit for name, rule in production.slo.named() if name.startswith("criteria.")}
        assert limits["criteria.memory_bytes"] == 1e9
        assert limits["criteria.cpu_ratio"] == 0.5
        assert limits["criteria.sse_connections"] == 100
        assert {"criteria.memory_growth_ratio", "criteria.sse_reconnect_ratio"} <= set(limits)
        assert (criteria.pods, criteria.logs) == (True, True)
        assert production.watch.seconds == 3600

    def test_environments_do_not_share_what_must_be_apart(self):
        staging, production = self.plan.environment("staging"), self.plan.environment("production")
        assert staging.namespace != production.namespace
        assert staging.helm_release != production.helm_release
        assert staging.connections.kubernetes != production.connections.kubernetes

    def test_has_its_chart_beside_it(self):
        for environment in self.plan.environments.values():
            assert (self.plan.chart(environment) / "Chart.yaml").is_file()


def test_the_folder_can_be_named(monkeypatch, folder):
    monkeypatch.setenv("STELLWERK_PLAN", str(folder))
    assert plan_folder() == folder
    monkeypatch.setenv("STELLWERK_PLAN", "")
    assert plan_folder().name == "include"


def test_unknown_names_tell_what_exists(folder):
    plan = load_plan(folder)
    with pytest.raises(UnknownRelease, match=r"release '9.9.9' is not in the plan.*one of 3.0.0.*9.9.9.yaml"):
        plan.release("9.9.9")
    with pytest.raises(UnknownEnvironment, match=r"environment 'qa' is not in the plan.*one of production"):
        plan.environment("qa")


def test_one_broken_file_does_not_hide_the_others(folder):
    (folder / "releases" / "3.1.0.yaml").write_text("version: [\n")
    plan = load_plan(folder)
    assert plan.release("3.0.0").version == "3.0.0"
    with pytest.raises(InvalidPlan, match=r"3\.1\.0\.yaml:2: "):
        plan.release("3.1.0")
    with pytest.raises(UnknownRelease, match=r"1 file\(s\) of the plan are broken"):
        plan.release("9.9.9")


def test_a_wrong_value_is_named_with_its_line(folder):
    file = folder / "environments" / "production.yaml"
    text = file.read_text().replace("path: /healthz", "path: healthz")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "path: healthz" in row)
    file.write_text(text)
    assert problem(folder) == f"{file}:{line}: smoke.0.path: 'healthz' is not a path like /healthz"


def test_several_wrong_values_are_all_named(folder):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(file.read_text().replace("2.9.0", "2.9").replace("Europe/Berlin", "Nowhere") + "extra: 1\n")
    said = problem(folder)
    assert said.startswith(f"{file}:2: previous:")
    assert "line 4: timezone:" in said
    assert "line 8: extra:" in said


def test_a_missing_key_points_at_what_should_hold_it(folder):
    file = folder / "environments" / "production.yaml"
    file.write_text(file.read_text().replace("  preview_service: erp-preview\n", ""))
    assert "traffic.preview_service: Field required" in problem(folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version: 3.0.0\nversion: 3.0.1\n", "2: the key 'version' appears twice (first in line 1)"),
        ("image:\n  tag: a\n  tag: b\n", "3: the key 'tag' appears twice (first in line 2)"),
        ("yes: 1\n", "1: the key True is not text: put it in quotes"),
        ("[1]: 1\n", "1: the key [1] is not text"),
        ("- a\n", "1: not a mapping"),
        ("", "1: not a mapping"),
        ("a: !!python/object:os.system {}\n", "1: could not determine a constructor"),
        ("a: b\n--- \nc: d\n", "2: but found another document"),
        ("a: *nothing\n", "1: anchors and aliases (& and *) are not allowed"),
        ("b: 1\na: &a [*a]\n", "2: anchors and aliases (& and *) are not allowed"),
        ("\tx: 1\n", "1: found character that cannot start any token (a tab? indent with spaces)"),
    ],
)
def test_yaml_that_is_not_what_it_seems(folder, text, why):
    file = folder / "releases" / "3.0.0.yaml"
    file.write_text(text)
    assert f"{file}:{why}" in problem(folder)


def test_bytes_that_are_no_text(folder):
    (folder / "releases" / "3.0.0.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in problem(folder)


@pytest.mark.parametrize("name", ["3.1.0.yaml", "3.0.0.yml"])
def test_a_file_is_named_after_its_release(folder, name):
    (folder / "releases" / "3.0.0.yaml").rename(folder / "releases" / name)
    assert "the file has to be called 3.0.0.yaml" in problem(folder)


def test_a_folder_that_is_no_plan(tmp_path):
    with pytest.raises(InvalidPlan, match=r"no releases and no environments.*STELLWERK_PLAN"):
        load_plan(tmp_path)


def test_a_chart_is_found_beside_the_plan_or_by_its_full_path(folder, tmp_path):
    plan = load_plan(folder)
    environment = plan.environment("production")
    assert plan.chart(environment) == folder / "charts" / "erp"
    absolute = environment.model_copy(update={"chart": str(folder / "charts" / "erp")})
    assert plan.chart(absolute) == folder / "charts" / "erp"
    with pytest.raises(InvalidPlan, match=r"is not a Helm chart.*no such folder.*production\.yaml"):
        plan.chart(environment.model_copy(update={"chart": "charts/nowhere"}))
    with pytest.raises(InvalidPlan, match=r"no Chart\.yaml"):
        plan.chart(environment.model_copy(update={"chart": str(Path(folder) / "releases")}))
