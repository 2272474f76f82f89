"""What Airflow does with an answer at each moment of a task that asks and is deferred: the watch relies on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from include.sandbox.airflow import AirflowRuntime
from include.sandbox.airflow_client import AirflowClient, AirflowRefused, Question, Run
from include.sandbox.processes import wait_until
from tests.e2e.runtime_fixtures import manager, runtime

__all__ = ["manager", "runtime"]

# Facts of the locked Airflow: they change with uv.lock alone, and the tests of the watch rest on them.
pytestmark = pytest.mark.exhaustive

DEFERRED = frozenset({"deferred"})


@pytest.fixture
def lead(runtime: AirflowRuntime) -> Iterator[AirflowClient]:
    with runtime.client("technical-lead") as client:
        yield client


def _start(manager: AirflowClient, **conf: Any) -> tuple[Run, Question]:
    run = manager.trigger("runtime-steered", conf)
    return run, manager.wait_for_question(run, "ask", deadline_seconds=60)


def _value(manager: AirflowClient, run: Run, task: str, key: str) -> Any:
    try:
        return manager.xcom(run, task, key)
    except AirflowRefused:
        return None


def _changes(read: Callable[[], Any], what: str) -> Any:
    first = read()
    wait_until(lambda: read() not in (None, first), deadline_seconds=180, what=what)
    return read()


def test_progress_is_seen_while_deferred_and_an_answer_resumes_the_task_and_ends_its_trigger(
    manager: AirflowClient, lead: AirflowClient
) -> None:
    run, question = _start(manager)
    manager.wait_for_task(run, "ask", deadline_seconds=30, states=DEFERRED)
    _changes(lambda: _value(manager, run, "ask", "progress"), "progress over the REST API")
    lead.answer(question, "enough", {"anything": ["not", "validated"]})
    manager.wait_for_run(run, deadline_seconds=60)
    [event] = manager.xcom(run, "ask", "events")
    assert event["chosen_options"] == ["enough"]
    assert event["params_input"] == {"anything": ["not", "validated"]}
    assert event["responded_by_user"] == {"id": "technical-lead", "name": "technical-lead"}
    assert event["timedout"] is False
    said = _value(manager, run, "ask", "progress")
    time.sleep(2)
    assert _value(manager, run, "ask", "progress") == said, "the trigger is gone"


def test_recording_the_question_again_reopens_it_but_keeps_its_first_words(
    manager: AirflowClient, lead: AirflowClient
) -> None:
    run, question = _start(manager)
    manager.wait_for_task(run, "ask", deadline_seconds=30, states=DEFERRED)
    lead.answer(question, "again")
    with pytest.raises(AirflowRefused) as refused:
        lead.answer(question, "enough")
    assert refused.value.status == 409, "an answer stands until the question is recorded again"
    again = manager.wait_for_question(run, "ask", deadline_seconds=60)
    assert again.body == "the first question"
    manager.wait_for_task(run, "ask", deadline_seconds=30, states=DEFERRED)
    lead.answer(again, "enough")
    manager.wait_for_run(run, deadline_seconds=60)
    assert [event["chosen_options"] for event in manager.xcom(run, "ask", "events")] == [["again"], ["enough"]]


def test_an_answer_before_the_task_is_deferred_resumes_nothing_and_is_found_by_the_trigger(
    manager: AirflowClient, lead: AirflowClient
) -> None:
    run, question = _start(manager, pause_before=4)
    lead.answer(question, "enough", {"comment": "early"})
    assert manager.task(run, "ask").state == "running"
    manager.wait_for_run(run, deadline_seconds=60)
    [event] = manager.xcom(run, "ask", "events")
    assert (event["found"], event["params_input"]) == ("at the start", {"comment": "early"})


def test_a_trigger_closes_the_question_and_an_answer_after_that_is_refused(
    manager: AirflowClient, lead: AirflowClient
) -> None:
    run, question = _start(manager, seconds=3, close=True, pause_after=5)
    _changes(lambda: _value(manager, run, "ask", "events") or "none", "the resumed task")
    with pytest.raises(AirflowRefused) as refused:
        lead.answer(question, "enough")
    assert refused.value.status == 409
    manager.wait_for_run(run, deadline_seconds=60)
    assert manager.xcom(run, "ask", "events") == [{"result": "time is up", "before": None}]
    assert manager.xcom(run, "look") == {"read": None, "closed": None}


def test_an_answer_while_the_resumed_task_runs_or_after_its_end_does_nothing_and_another_trigger_can_read_it(
    manager: AirflowClient, lead: AirflowClient
) -> None:
    run, question = _start(manager, seconds=3, pause_after=6)
    _changes(lambda: _value(manager, run, "ask", "events") or "none", "the resumed task")
    lead.answer(question, "enough", {"comment": "late"})
    manager.wait_for_run(run, deadline_seconds=60)
    assert [event["result"] for event in manager.xcom(run, "ask", "events")] == ["time is up"]
    seen = manager.xcom(run, "look")
    assert seen["read"]["params_input"] == {"comment": "late"}
    assert seen["read"]["responded_by_user"]["id"] == "technical-lead"
    assert seen["closed"] == seen["read"]

    after, question = _start(manager, seconds=2, look_after=6)
    manager.wait_for_task(after, "ask", deadline_seconds=60)
    lead.answer(question, "again", {"comment": "after the end"})
    manager.wait_for_run(after, deadline_seconds=60)
    assert manager.task(after, "ask").state == "success"
    assert manager.xcom(after, "look")["read"]["params_input"] == {"comment": "after the end"}
