"""Two releases at once: one gets through, the other is told at once who has the environment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import Sandbox
from include.sandbox.people import RELEASE_MANAGER, answer_gate, trigger_release
from tests.e2e.conftest import World

FAILED = frozenset({"failed"})
REFUSED_SECONDS = 60


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[AirflowClient]:
    with sandbox.airflow.client() as session:
        yield session


def states(client: AirflowClient, run: Run) -> dict[str, str]:
    return {task.task_id: task.state for task in client.tasks(run)}


def at_the_gate(client: AirflowClient, run: Run) -> None:
    client.wait_for_question(run, "go_no_go.decide", map_index=0, deadline_seconds=90)


def override(sandbox: Sandbox, reason: str) -> Run:
    conf = {"release": "3.0.1", "environment": "production", "override_reason": reason}
    with sandbox.airflow.client(RELEASE_MANAGER) as manager:
        return manager.trigger("production-blue-green", conf)


def test_of_two_started_in_the_same_second_one_gets_through(
    sandbox: Sandbox, world: World, client: AirflowClient
) -> None:
    before = world.service().selector
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda version: trigger_release(sandbox.airflow, version), ("3.0.0", "3.0.1")))
    ended = [client.wait_for_task(run, "preflight", deadline_seconds=REFUSED_SECONDS) for run in runs]
    took = time.monotonic() - started
    assert sorted(task.state for task in ended) == ["failed", "success"]
    first, second = (runs[[task.state for task in ended].index(state)] for state in ("success", "failed"))

    log = client.log(second, "preflight")
    assert "EnvironmentHeld" in log
    assert f"run {first.run_id}, started by {RELEASE_MANAGER}, since " in log
    assert client.wait_for_run(second, deadline_seconds=60, states=FAILED)
    assert states(client, second)["release_lease"] == "success"
    assert took < REFUSED_SECONDS

    at_the_gate(client, first)
    hotfix = override(sandbox, "customers cannot order")
    at_the_gate(client, hotfix)
    assert "OVERRIDE by release-manager: customers cannot order" in client.questions(hotfix)[0].body
    answer_gate(sandbox.airflow, first)
    client.wait_for_run(first, deadline_seconds=120, states=FAILED)
    log = client.log(first, "deploy_idle_slot")
    assert "LeaseLost" in log
    assert f"run {hotfix.run_id}: customers cannot order" in log

    client.set_run_state(hotfix, "failed")
    client.wait_for_run(hotfix, deadline_seconds=60, states=FAILED)
    assert "ended by hand" in client.log(hotfix, "release_lease")
    third = trigger_release(sandbox.airflow, "3.0.0")
    at_the_gate(client, third)
    answer_gate(sandbox.airflow, third, "No-Go")
    client.wait_for_run(third, deadline_seconds=90, states=FAILED)
    assert "is free for the next release" in client.log(third, "release_lease")
    assert world.service().selector == before
