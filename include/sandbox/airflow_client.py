"""A small client of Airflow's REST API: what the UI does, for the demo and the end-to-end suite.

A client speaks as one user. It never reads the metadata database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from include.errors import SandboxError
from include.sandbox.airflow_records import (
    RUN_ENDED,
    TASK_ENDED,
    Question,
    Run,
    Task,
    log_line,
    question_of,
    run_of,
    task_of,
    task_path,
)
from include.sandbox.airflow_session import AirflowRefused, AirflowSession

__all__ = ["RUN_ENDED", "TASK_ENDED", "AirflowClient", "AirflowRefused", "Question", "Run", "Task"]

_POLL_SECONDS = 0.25
PATIENCE: Final = 3
"""A deadline is what a quick machine needs at most; one that has other work is given so many times as long."""

Seen = TypeVar("Seen")


class AirflowClient(AirflowSession):
    """Runs, tasks, XComs and questions, as one user sees and changes them."""

    # -- DAGs ------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, str]:
        """Component → status, as Airflow reports them."""
        answer = self.request("GET", "monitor/health")
        return {name: part["status"] for name, part in answer.items() if part and part.get("status")}

    def dag_ids(self) -> set[str]:
        """The DAGs that are known and not stale."""
        return {dag["dag_id"] for dag in self.pages("dags", "dags")}

    def dag_files(self) -> set[Path]:
        """The files of the DAGs that are known."""
        return {Path(dag["fileloc"]) for dag in self.pages("dags", "dags")}

    def import_errors(self) -> list[str]:
        """One text for each DAG file that cannot be imported."""
        errors = self.pages("importErrors", "import_errors")
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    # -- runs ------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> Run:
        """Start a run.

        :raises AirflowRefused: 400 for params that do not fit, 404 unknown DAG, 409 the run id exists
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return run_of(self.request("POST", f"dags/{quote(dag_id, safe='')}/dagRuns", json=body))

    def runs(self, dag_id: str) -> tuple[Run, ...]:
        """The DAG's runs, oldest first."""
        return tuple(
            run_of(run) for run in self.pages(f"dags/{quote(dag_id, safe='')}/dagRuns", "dag_runs", order_by="id")
        )

    def run(self, run: Run) -> Run:
        """The run as it is now."""
        return run_of(self.request("GET", run.path))

    def set_run_state(self, run: Run, state: str) -> Run:
        """Mark a run as success, failed or queued, as the UI's button does."""
        return run_of(self.request("PATCH", run.path, json={"state": state}))

    def wait_for_run(self, run: Run, *, deadline_seconds: float, states: frozenset[str] = RUN_ENDED) -> Run:
        """Wait until the run's state is one of ``states``.

        :raises SandboxError: not in time, or ended otherwise; with each task's state and the failed ones' logs
        """

        def look() -> Run | None:
            now = self.run(run)
            return now if now.state in states or now.state in RUN_ENDED else None

        seen = self._wait(
            look, deadline_seconds, f"{run.dag_id} {run.run_id} to be {'/'.join(sorted(states))}", run
        )
        if seen.state not in states:
            raise SandboxError(
                f"{run.dag_id} {run.run_id} is {seen.state}",
                expected="/".join(sorted(states)),
                seen=self.describe(run),
            )
        return seen

    # -- tasks -----------------------------------------------------------------------------------------------

    def tasks(self, run: Run) -> tuple[Task, ...]:
        """Every task instance of the run."""
        return tuple(task_of(task) for task in self.pages(f"{run.path}/taskInstances", "task_instances"))

    def task(self, run: Run, task_id: str, map_index: int = -1) -> Task:
        """One task instance.

        :raises AirflowRefused: 404 when the run has no such task
        """
        return task_of(self.request("GET", task_path(run, task_id, map_index)))

    def wait_for_task(
        self,
        run: Run,
        task_id: str,
        *,
        deadline_seconds: float,
        states: frozenset[str] = TASK_ENDED,
        map_index: int = -1,
    ) -> Task:
        """Wait until the task's state is one of ``states``.

        :raises SandboxError: not in time, or ended otherwise
        """

        def look() -> Task | None:
            now = self.task(run, task_id, map_index)
            return now if now.state in states or now.state in TASK_ENDED else None

        wanted = "/".join(sorted(states))
        seen = self._wait(look, deadline_seconds, f"{run.dag_id}.{task_id} to be {wanted}", run)
        if seen.state not in states:
            raise SandboxError(f"{run.dag_id}.{task_id} is {seen.state}", expected=wanted, seen=self.describe(run))
        return seen

    def set_task_state(self, run: Run, task_id: str, state: str, map_index: int | None = None) -> None:
        """Mark a task as success, failed or skipped, as the UI's button does.

        :raises AirflowRefused: 403 without edit rights
        """
        self.request("PATCH", task_path(run, task_id, map_index), json={"new_state": state})

    def clear(self, run: Run, task_ids: Sequence[str | tuple[str, int]], *, downstream: bool = True) -> None:
        """Have tasks run again; of a mapped one all its instances, or the one with that map index."""
        body = {
            "dry_run": False,
            "dag_run_id": run.run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"dags/{quote(run.dag_id, safe='')}/clearTaskInstances", json=body)

    def log(self, run: Run, task_id: str, *, attempt: int | None = None, map_index: int = -1) -> str:
        """The log of one attempt (the latest when None) as plain lines."""
        attempt = attempt if attempt is not None else self.task(run, task_id, map_index).tries
        path = f"{run.path}/taskInstances/{quote(task_id, safe='')}/logs/{attempt}"
        answer = self.request("GET", path, params={"map_index": map_index, "full_content": True})
        return "\n".join(log_line(entry) for entry in answer["content"])

    def describe(self, run: Run) -> str:
        """Each task's state and, last, each failed one's end of its log: a message cut in front still says why."""
        tasks = sorted(self.tasks(run), key=lambda task: task.state == "failed")
        lines = []
        for task in tasks:
            name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
            lines.append(f"{name}: {task.state} (attempt {task.tries})")
            if task.state == "failed":
                log = self.log(run, task.task_id, attempt=task.tries, map_index=task.map_index)
                lines += [f"    {line}" for line in log.splitlines()[-25:]]
        return "\n".join(lines)

    # -- XCom ------------------------------------------------------------------------------------------------

    def xcom(self, run: Run, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed on.

        :raises AirflowRefused: 404 when there is nothing
        """
        path = f"{run.path}/taskInstances/{quote(task_id, safe='')}/xcomEntries/{quote(key, safe='')}"
        return self.request("GET", path, params={"map_index": map_index, "deserialize": False})["value"]

    def set_xcom(
        self, run: Run, task_id: str, value: object, key: str = "return_value", map_index: int = -1
    ) -> None:
        """Write or overwrite what a task hands on.

        :raises AirflowRefused: 403 without edit rights
        """
        path = f"{run.path}/taskInstances/{quote(task_id, safe='')}/xcomEntries"
        try:
            self.request("POST", path, json={"key": key, "value": value, "map_index": map_index})
        except AirflowRefused as refused:
            if refused.status != httpx.codes.CONFLICT:
                raise
            body = {"value": value, "map_index": map_index}
            self.request("PATCH", f"{path}/{quote(key, safe='')}", json=body)

    # -- people ----------------------------------------------------------------------------------------------

    def questions(self, run: Run | None = None, *, open_only: bool = True) -> tuple[Question, ...]:
        """What tasks ask humans, in one run or in all of them."""
        path = f"{run.path if run else 'dags/~/dagRuns/~'}/hitlDetails"
        params = {"response_received": False} if open_only else {}
        return tuple(question_of(detail) for detail in self.pages(path, "hitl_details", **params))

    def wait_for_question(
        self, run: Run, task_id: str, *, deadline_seconds: float, map_index: int = -1
    ) -> Question:
        """Wait until the task asks.

        :raises SandboxError: not in time, or the run ended without asking
        """

        def look() -> Question | None:
            for question in self.questions(run):
                if (question.task_id, question.map_index) == (task_id, map_index):
                    return question
            state = self.run(run).state
            if state in RUN_ENDED:
                raise SandboxError(
                    f"{run.dag_id} {run.run_id} is {state} and {task_id} never asked", seen=self.describe(run)
                )
            return None

        return self._wait(look, deadline_seconds, f"{run.dag_id}.{task_id} to ask", run)

    def answer(self, question: Question, option: str, params: Mapping[str, Any] | None = None) -> None:
        """Answer as this client's user.

        :raises AirflowRefused: 403 not assigned, 409 somebody else was faster
        """
        body = {"chosen_options": [option], "params_input": dict(params or {})}
        self.request("PATCH", question.path, json=body)

    def events(self, run: Run | None = None) -> tuple[Mapping[str, Any], ...]:
        """The audit log, newest first."""
        params = {"dag_id": run.dag_id, "run_id": run.run_id} if run else {}
        return tuple(self.pages("eventLogs", "event_logs", order_by="-when", **params))

    def _wait(self, look: Callable[[], Seen | None], deadline_seconds: float, what: str, run: Run) -> Seen:
        seconds = PATIENCE * deadline_seconds
        deadline = time.monotonic() + seconds
        while True:
            if (seen := look()) is not None:
                return seen
            if time.monotonic() >= deadline:
                raise SandboxError(f"waited {seconds:g} s in vain for {what}", seen=f"\n{self.describe(run)}")
            time.sleep(_POLL_SECONDS)
