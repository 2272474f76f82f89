"""Late reports are dropped, all others are handed on; and the source this rests on is the one that was read."""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor as AirflowLocalExecutor
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import CallbackState, TaskInstanceState

from stellwerk.executor import LocalExecutor

SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED
GATE = TaskInstanceKey("production-blue-green", "decide", "run", 1, 0)
WATCH = TaskInstanceKey("production-blue-green", "watch", "run", 1, -1)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    monkeypatch.setattr(AirflowLocalExecutor, "_process_workloads", lambda self, workload_list: None)
    executor = LocalExecutor(parallelism=2)  # type: ignore[no-untyped-call]
    executor._started = Counter()
    return executor


def start(executor: LocalExecutor, *keys: Any) -> None:
    executor._process_workloads([SimpleNamespace(key=key) for key in keys])  # type: ignore[misc]


def reports(executor: LocalExecutor) -> dict[Any, Any]:
    return {key: state for key, (state, _) in executor.get_event_buffer().items()}


def test_a_report_of_the_only_part_is_handed_on(executor: LocalExecutor) -> None:
    start(executor, GATE)
    executor.change_state(GATE, SUCCESS)
    assert reports(executor) == {GATE: SUCCESS}


def test_a_late_success_is_dropped_and_that_of_the_next_part_is_handed_on(executor: LocalExecutor) -> None:
    start(executor, GATE)
    start(executor, GATE)
    executor.change_state(GATE, SUCCESS)
    assert reports(executor) == {}
    executor.change_state(GATE, SUCCESS)
    assert reports(executor) == {GATE: SUCCESS}


def test_a_failure_is_always_handed_on(executor: LocalExecutor) -> None:
    start(executor, GATE)
    start(executor, GATE)
    executor.change_state(GATE, FAILED)
    assert reports(executor) == {GATE: FAILED}


def test_a_part_that_was_reported_in_time_does_not_make_the_next_report_late(executor: LocalExecutor) -> None:
    for _ in range(3):
        start(executor, GATE)
        executor.change_state(GATE, SUCCESS)
        assert reports(executor) == {GATE: SUCCESS}


def test_other_tasks_do_not_count(executor: LocalExecutor) -> None:
    start(executor, GATE, WATCH)
    other_index = GATE.with_try_number(2)
    start(executor, other_index)
    executor.change_state(GATE, SUCCESS)
    assert reports(executor) == {GATE: SUCCESS}


def test_callbacks_report_running_and_done_as_ever(executor: LocalExecutor) -> None:
    start(executor, "callback", "callback")
    executor.change_state("callback", CallbackState.RUNNING)
    executor.change_state("callback", CallbackState.SUCCESS)
    assert reports(executor) == {"callback": CallbackState.SUCCESS}


def test_nothing_is_kept_of_tasks_that_are_done(executor: LocalExecutor) -> None:
    for attempt in range(100):
        key = GATE.with_try_number(attempt)
        start(executor, key, key)
        executor.change_state(key, SUCCESS)
        executor.change_state(key, SUCCESS)
    assert not executor._started


def test_a_report_of_something_never_started_here_is_handed_on(executor: LocalExecutor) -> None:
    executor.change_state(WATCH, SUCCESS)
    assert reports(executor) == {WATCH: SUCCESS}


@pytest.mark.parametrize(
    ("function", "digest"),
    [
        (AirflowLocalExecutor._read_results, "45f6f9d712d88c92"),
        (AirflowLocalExecutor._process_workloads, "633d2deec5f09062"),
        (BaseExecutor.change_state, "7a66f3148435651f"),
        (vars(SchedulerJobRunner)["process_executor_events"].__func__, "7ae42ac0a7db779f"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_airflows_source_is_the_one_the_decision_was_made_for(function: Any, digest: str) -> None:
    seen = hashlib.sha256(inspect.getsource(inspect.unwrap(function)).encode()).hexdigest()[:16]
    assert seen == digest, f"{function.__qualname__} has changed: read docs/adr/0002 again, then pin {seen}"
