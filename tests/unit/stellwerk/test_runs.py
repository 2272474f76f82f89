"""A run's parameters become a release run; what goes back waits for no ledger on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag

from include.errors import LedgerUnavailable, PlanError
from include.plan import loader
from include.plan.loader import Plan, load_plan, plan_folder
from stellwerk.operators.loss import AskLoss
from stellwerk.runs import release_run


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
