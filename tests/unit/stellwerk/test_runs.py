"""A run's parameters become a release run; what goes back waits for no ledger on the way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag

from include.errors import InvalidPlan, LedgerUnavailable, PlanError, UnknownRelease
from include.ledger.store import Ledger
from include.plan import loader
from include.plan.loader import Plan, load_plan, plan_folder
from include.steps.planned import keep_plan
from stellwerk.operators.loss import AskLoss
from stellwerk.runs import release_run
from tests.memory import MemoryLedger


@pytest.fixture
def without_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments name a registry, and the ledger is out."""
    plan = load_plan(plan_folder())

    def registered(environment: Any) -> Any:
        connections = environment.connections.model_copy(update={"registry": "registry"})
        return environment.model_copy(update={"connections": connections})

    known = {name: registered(environment) for name, environment in plan.environments.items()}
    changed: Plan = replace(plan, environments=known)
    monkeypatch.setattr(loader, "load_plan", lambda _: changed)

    def out(*_: Any, **__: Any) -> Any:
        raise LedgerUnavailable("the database gives no answer")

    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", out)


def context(**conf: str) -> Any:
    params = {"release": "3.0.0", "environment": "production", **conf}
    dag = SimpleNamespace(dag_id="rollback", params={"release": "", "environment": ""})
    dag_run = SimpleNamespace(run_id="rb1", conf=params, triggering_user_name="rm")
    return cast("Any", {"params": params, "dag_run": dag_run, "dag": dag})


def test_the_digest_is_asked_for_where_it_is_needed_only(without_ledger: None) -> None:
    with pytest.raises(LedgerUnavailable):
        release_run(context())
    run = release_run(context(), with_digest=False)
    assert (run.release.version, run.triggered_by) == ("3.0.0", "rm")


def test_a_run_is_told_from_another_one_under_its_id(without_ledger: None) -> None:
    runs = []
    for after, user in ((1, "rm"), (1, "rm"), (2, "rm"), (1, "eve"), (1, None)):
        begun = context()
        begun["dag_run"].run_after = datetime(2030, 1, after, tzinfo=UTC)
        begun["dag_run"].triggering_user_name = user
        runs.append(release_run(begun, with_digest=False).born)
    assert runs[0] == runs[1]
    assert len(set(runs)) == 4


def test_a_misspelt_parameter_is_refused(without_ledger: None) -> None:
    with pytest.raises(PlanError, match="unknown parameter"):
        release_run(context(reasons="typo"), with_digest=False)


def test_no_step_of_a_rollback_needs_it() -> None:
    bag = DagBag(dag_folder=str(plan_folder().parent / "dags"), collect_dags=True, bundle_name="dags-folder")
    tasks = bag.dags["rollback"].tasks
    questions = [task for task in tasks if task.is_mapped and issubclass(task.operator_class, AskLoss)]
    assert {task.needs_digest for task in tasks if task not in questions} == {False}
    assert {task.task_id for task in questions} == {
        "full_restore.ask",
        "full_restore.ask_again",
    }, "a question deploys nothing"
    assert {
        bag.dags["production-blue-green"].get_task(name).needs_digest for name in ("preflight", "cutover")
    } == {True}


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan that somebody edits, and a ledger that has kept it as it was for release 3.0.0 in production."""
    for name in ("releases", "environments"):
        shutil.copytree(plan_folder() / name, tmp_path / name)
    (tmp_path / "charts").symlink_to(plan_folder() / "charts")
    monkeypatch.setenv("STELLWERK_PLAN", str(tmp_path))
    memory = MemoryLedger()
    keep_plan(release_run(context(), with_digest=False), cast(Ledger, memory))
    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", lambda _: memory)
    monkeypatch.setattr("stellwerk.runs._SAVING_SECONDS", 0.0)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("environments/production.yaml", "\nunheard_of: 1\n"),
        ("environments/production.yaml", "\n  {broken: [\n"),
        ("releases/3.0.0.yaml", "\ntimezone: Europe/Nowhere\n"),
        ("environments/production.yaml", None),
        ("releases/3.0.0.yaml", None),
        ("charts", None),
    ],
)
def test_a_broken_file_bars_no_way_back(
    edited: Path, file: str, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    whole = release_run(context(), with_digest=False)
    path = edited / file
    if text is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + text)
    with pytest.raises(PlanError):
        release_run(context())
    run = release_run(context(), with_digest=False)
    assert run.release == whole.release
    assert run.environment.traffic == whole.environment.traffic
    assert run.environment.gate == whole.environment.gate
    assert "BROKEN" in caplog.text
    assert not run.environment.model_dump()["values"] or file != "environments/production.yaml", "may hold secrets"


def test_a_file_that_is_emptied_says_its_ledger_no_more(edited: Path) -> None:
    (edited / "environments/production.yaml").write_text("")
    assert release_run(context(), with_digest=False).environment.name == "production", (
        "staging has the same ledger"
    )


def test_nothing_stands_in_for_a_release_that_never_was(edited: Path) -> None:
    with pytest.raises(UnknownRelease):
        release_run(context(release="9.9.9"), with_digest=False)
    (edited / "environments/production.yaml").write_text("")
    with pytest.raises(InvalidPlan) as raised:
        release_run(context(release="9.9.9"), with_digest=False)
    assert raised.value.retryable, "somebody who saves it in two steps mends it a moment later"


def test_a_ledger_that_is_out_leaves_what_is_wrong(edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: Any, **__: Any) -> Any:
        raise LedgerUnavailable("the database gives no answer")

    monkeypatch.setattr("stellwerk.hooks.ledger.open_ledger", out)
    (edited / "environments/production.yaml").write_text("")
    with pytest.raises(InvalidPlan, match="not a mapping"):
        release_run(context(), with_digest=False)


def test_a_save_in_two_steps_heals_itself(edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = edited / "environments/production.yaml"
    text = file.read_text()
    file.write_text(text[:200])
    monkeypatch.setattr("stellwerk.runs.time.sleep", lambda _: file.write_text(text))
    monkeypatch.setattr("stellwerk.runs.pinned", None, raising=False)
    assert release_run(context()).fingerprint


def test_every_step_that_goes_back_goes_on_despite_a_broken_file() -> None:
    bag = DagBag(dag_folder=str(plan_folder().parent / "dags"), collect_dags=True, bundle_name="dags-folder")
    kinds = {getattr(task, "operator_class", type(task)) for task in bag.dags["rollback"].tasks}
    assert {kind.despite_faults for kind in kinds if not issubclass(kind, AskLoss)} == {True}
    production, migration = bag.dags["production-blue-green"], bag.dags["db-migration"]
    assert production.get_task("watch").despite_faults
    for name in ("watch", "way_back.state", "way_back.take_back"):
        assert migration.get_task(name).despite_faults, name
    for name in ("preflight", "deploy_idle_slot", "cutover", "clean_up"):
        assert not production.get_task(name).despite_faults, name
