"""The embedded Airflow: it starts, works, recovers, and resumes tasks reliably."""

from __future__ import annotations

import time

import httpx
import psutil
import pytest

from include.sandbox.airflow import AirflowRuntime
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.airflow_environment import REPOSITORY
from include.sandbox.processes import wait_until
from tests.e2e.runtime_fixtures import manager, processes_of, runtime, still_running

__all__ = ["manager", "runtime"]


def test_a_task_runs_and_sees_the_packages_but_none_of_their_modules_by_a_bare_name(
    manager: AirflowClient,
) -> None:
    run = manager.wait_for_run(manager.trigger("runtime-trivial"), deadline_seconds=90)
    found = manager.xcom(run, "hello")
    assert found.pop("stellwerk") == str(REPOSITORY / "plugins" / "stellwerk" / "__init__.py")
    assert found.pop("include") == str(REPOSITORY / "include" / "errors.py")
    assert "site-packages" in found["kubernetes"]
    assert [file for file in found.values() if file.startswith(str(REPOSITORY / "plugins"))] == []


def test_the_web_server_loads_one_plugin_and_no_module_of_the_package(manager: AirflowClient) -> None:
    assert manager.request("GET", "plugins/importErrors")["import_errors"] == []
    sources = [plugin["source"] or "" for plugin in manager.request("GET", "plugins")["plugins"]]
    [ours] = [source for source in sources if "stellwerk" in source]
    assert "stellwerk_plugin.py" in ours


def test_everything_listens_on_loopback_only(runtime: AirflowRuntime) -> None:
    listening = {
        connection.laddr.ip
        for process in processes_of(runtime)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_only_whom_a_question_is_assigned_to_can_answer(runtime: AirflowRuntime, manager: AirflowClient) -> None:
    run = manager.trigger("runtime-question")
    question = manager.wait_for_question(run, "ask", deadline_seconds=60)
    assert question.assigned_users == ("technical-lead",)
    for user in ("release-manager", "admin", "viewer"):
        with runtime.client(user) as other, pytest.raises(AirflowRefused) as refused:
            other.answer(question, "Go")
        assert refused.value.status == httpx.codes.FORBIDDEN
    with runtime.client("technical-lead") as assigned:
        assigned.answer(question, "Go")
    assert manager.wait_for_run(run, deadline_seconds=60).state == "success"
    answered = manager.questions(run, open_only=False)[0]
    assert (answered.answer, answered.answered_by) == (("Go",), "technical-lead")


def test_a_viewer_cannot_start_anything_and_a_wrong_password_opens_nothing(runtime: AirflowRuntime) -> None:
    with runtime.client("viewer") as viewer, pytest.raises(AirflowRefused) as refused:
        viewer.trigger("runtime-trivial")
    assert refused.value.status == httpx.codes.FORBIDDEN
    with AirflowClient(runtime.url, "admin", "wrong") as nobody, pytest.raises(AirflowRefused) as refused:
        nobody.dag_ids()
    assert refused.value.status == httpx.codes.UNAUTHORIZED


def test_deferred_tasks_survive_being_resumed_at_once(manager: AirflowClient) -> None:
    naps = [0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]
    for _ in range(2):
        run = manager.trigger("race-defer", {"seconds": naps})
        manager.wait_for_run(run, deadline_seconds=120)
        states = [task.state for task in manager.tasks(run) if task.task_id == "nap"]
        assert states == ["success"] * len(naps)


def test_answers_given_the_moment_a_task_asks_are_not_lost(
    runtime: AirflowRuntime, manager: AirflowClient
) -> None:
    # With the stock executor more than half of these fail: 40 in a row is no luck.
    questions, rounds = 8, 5
    late = _late_reports(runtime)
    for _ in range(rounds):
        run = manager.trigger("race-ask", {"questions": questions})
        _answer_at_once(manager, run, questions)
        manager.wait_for_run(run, deadline_seconds=120)
        states = [task.state for task in manager.tasks(run) if task.task_id == "ask"]
        assert states == ["success"] * questions
    assert _late_reports(runtime) > late, "no report was late: this test has lost its object"


def _answer_at_once(client: AirflowClient, run: Run, count: int) -> None:
    answered: set[int] = set()

    def waiting() -> list[Question]:
        questions = client.questions(run)
        return [q for q in questions if q.task_state == "awaiting_input" and q.map_index not in answered]

    deadline = time.monotonic() + 120
    while len(answered) < count:
        assert time.monotonic() < deadline, client.describe(run)
        for question in waiting():
            client.answer(question, "Yes")
            answered.add(question.map_index)
        time.sleep(0.05)


def _late_reports(runtime: AirflowRuntime) -> int:
    return (runtime.logs / "scheduler.log").read_text().count("Not handing on a late report")


@pytest.mark.parametrize("component", ["triggerer", "scheduler"])
def test_a_killed_component_is_started_again_without_a_second_set_of_workers(
    runtime: AirflowRuntime, manager: AirflowClient, component: str
) -> None:
    killed = psutil.Process(runtime.pid(component))
    below = killed.children(recursive=True)
    killed.kill()
    wait_until(
        lambda: runtime.restarts(component) == 1 and manager.health()[component] == "healthy",
        deadline_seconds=60,
        what=f"the {component} to be back",
    )
    assert still_running(below) == []
    manager.wait_for_run(manager.trigger("race-defer", {"seconds": [0.5]}), deadline_seconds=90)
