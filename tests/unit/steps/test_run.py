"""A run binds its parameters to the plan, and its identity to what is approved."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidPlan, UnknownEnvironment, UnknownRelease
from include.plan.loader import load_plan, plan_folder
from include.steps.run import ReleaseRun, open_run, parse_release_id


@pytest.fixture
def run(tmp_path: Path) -> ReleaseRun:
    plan = load_plan(plan_folder())
    shutil.copytree(plan.chart(plan.environment("production")), tmp_path / "chart")
    opened = open_run(
        plan,
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id="r1",
        triggered_by="rm",
    )
    return replace(opened, chart=tmp_path / "chart")


def test_the_fingerprint_is_the_same_for_the_same_plan_and_another_for_a_changed_chart(run: ReleaseRun) -> None:
    before = replace(run).fingerprint
    assert replace(run, run_id="r2").fingerprint == before, "the fingerprint is about what, not about when"
    (run.chart / "templates" / "extra.yaml").write_text("kind: ConfigMap\n")
    assert replace(run).fingerprint != before


def test_a_longer_watch_or_another_role_voids_the_approval(run: ReleaseRun) -> None:
    environment = run.environment
    longer = environment.model_copy(update={"watch": environment.watch.model_copy(update={"seconds": 7200.0})})
    roles = environment.gate.model_copy(update={"roles": {"technical-lead": ("x", "y")}})
    others = [longer, environment.model_copy(update={"gate": roles})]
    assert len({run.fingerprint, *(replace(run, environment=other).fingerprint for other in others)}) == 3


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("", {"cleanup": "uninstall"}),
        ("", {"drain": "leave"}),
        ("", {"namespace": "elsewhere"}),
        ("", {"chart_accept": {"hook": "we know it"}}),
        ("watch", {"unknown_limit_ratio": 0.9}),
        ("watch", {"min_requests": 1}),
        ("traffic", {"service": "elsewhere"}),
        ("connections", {"kubernetes": "another_cluster"}),
    ],
)
def test_how_a_release_is_done_and_judged_is_approved_with_it(
    run: ReleaseRun, part: str, changes: dict[str, Any]
) -> None:
    environment = run.environment
    if part:
        changes = {part: getattr(environment, part).model_copy(update=changes)}
    assert replace(run, environment=environment.model_copy(update=changes)).fingerprint != run.fingerprint


def test_fewer_smoke_checks_and_another_old_version_are_something_else(run: ReleaseRun) -> None:
    fewer = run.environment.model_copy(update={"smoke": run.environment.smoke[:1]})
    older = run.release.model_copy(update={"previous": "2.8.0"})
    found = {run.fingerprint, replace(run, environment=fewer).fingerprint, replace(run, release=older).fingerprint}
    assert len(found) == 3


def test_what_only_tells_people_is_not_approved(run: ReleaseRun) -> None:
    connections = run.environment.connections.model_copy(update={"slack": "another"})
    told = run.environment.model_copy(update={"connections": connections, "contacts": ()})
    assert replace(run, environment=told).fingerprint == run.fingerprint


def test_what_the_plan_does_not_know_is_refused() -> None:
    plan = load_plan(plan_folder())
    with pytest.raises(UnknownRelease):
        open_run(plan, release="9.9.9", environment="production", phase="p", run_id="r", triggered_by=None)
    with pytest.raises(UnknownEnvironment):
        open_run(plan, release="3.0.0", environment="moon", phase="p", run_id="r", triggered_by=None)


def test_an_environment_without_a_chart_is_refused(tmp_path: Path) -> None:
    shutil.copytree(plan_folder() / "releases", tmp_path / "releases")
    shutil.copytree(plan_folder() / "environments", tmp_path / "environments")
    plan = load_plan(tmp_path)
    with pytest.raises(InvalidPlan, match="not a Helm chart"):
        open_run(plan, release="3.0.0", environment="production", phase="p", run_id="r", triggered_by=None)


@given(st.text(min_size=1).filter(lambda text: "@" not in text and "/" not in text), st.text(min_size=1))
def test_a_release_id_is_read_back_as_it_was_written(version: str, run_id: str) -> None:
    assert parse_release_id(f"{version}@production/{run_id}") == (version, "production", run_id)


@pytest.mark.parametrize(
    "text", ["", "3.0.0", "3.0.0@production", "@production/r", "3.0.0@/r", "3.0.0@production/"]
)
def test_what_stellwerk_did_not_write_is_no_release_id(text: str) -> None:
    assert parse_release_id(text) is None
