"""A small client of Airflow's REST API: what the UI does, for the demo and the end-to-end suite.

A client speaks as one user. It never reads the metadata database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from include.errors import SandboxError

RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

_PAGE = 100
_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.25

# What the caller of log() knows anyway, or would not look for.
_LOG_NOISE = frozenset(
    {"timestamp", "level", "event", "logger", "filename", "lineno", "loc", "ti", "ti_id"}
    | {"dag_id", "run_id", "task_id", "map_index", "try_number"}
)

Seen = TypeVar("Seen")


class AirflowRefused(SandboxError):
    """Airflow's API answered with an error.

    :param status: HTTP status code
    :param detail: what the answer said
    """

    def __init__(self, what: str, *, status: int, detail: object) -> None:
        super().__init__(what, seen=f"{status}: {detail}")
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Run:
    """A DAG run."""

    dag_id: str
    run_id: str
    state: str
    conf: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None
    started: str | None = None
    ended: str | None = None

    @property
    def path(self) -> str:
        """Below the API's root."""
        return f"dags/{quote(self.dag_id, safe='')}/dagRuns/{quote(self.run_id, safe='')}"


@dataclass(frozen=True)
class Task:
    """A task instance; ``state`` is "none" until the scheduler has looked at it."""

    task_id: str
    map_index: int
    state: str
    tries: int
    started: str | None
    ended: str | None
    duration_seconds: float | None
    operator: str | None
    note: str | None = None


@dataclass(frozen=True)
class Question:
    """What a task asks humans; ``answer`` and ``answered_by`` are None until somebody did."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    task_state: str
    subject: str
    body: str
    options: tuple[str, ...]
    params: Mapping[str, Any]
    assigned_users: tuple[str, ...]
    answer: tuple[str, ...] | None
    answered_by: str | None

    @property
    def path(self) -> str:
        """Below the API's root."""
        run = Run(self.dag_id, self.run_id, "").path
        return f"{run}/taskInstances/{quote(self.task_id, safe='')}/{self.map_index}/hitlDetails"


class AirflowClient:
    """One user's session.

    :param url: the web server, without a path
    :raises AirflowRefused: on use, when Airflow does not accept user and password
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.user = user
        self._credentials = {"username": user, "password": password}
        self._token = ""
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def __enter__(self) -> AirflowClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- DAGs ------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, str]:
        """Component → status, as Airflow reports them."""
        answer = self.request("GET", "monitor/health")
        return {name: part["status"] for name, part in answer.items() if part and part.get("status")}

    def dag_ids(self) -> set[str]:
        """The DAGs that are known and not stale."""
        return {dag["dag_id"] for dag in self._pages("dags", "dags")}

    def dag_files(self) -> set[Path]:
        """The files of the DAGs that are known."""
        return {Path(dag["fileloc"]) for dag in self._pages("dags", "dags")}

    def import_errors(self) -> list[str]:
        """One text for each DAG file that cannot be imported."""
        errors = self._pages("importErrors", "import_errors")
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        """Pause or unpause a DAG."""
        self.request("PATCH", f"dags/{quote(dag_id, safe='')}", json={"is_paused": paused})

    # -- runs ------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> Run:
        """Start a run.

        :raises AirflowRefused: 400 for params that do not fit, 404 unknown DAG, 409 the run id exists
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return _run(self.request("POST", f"dags/{quote(dag_id, safe='')}/dagRuns", json=body))

    def runs(self, dag_id: str) -> tuple[Run, ...]:
        """The DAG's runs, oldest first."""
        return tuple(
            _run(run) for run in self._pages(f"dags/{quote(dag_id, safe='')}/dagRuns", "dag_runs", order_by="id")
        )

    def run(self, run: Run) -> Run:
        """The run as it is now."""
        return _run(self.request("GET", run.path))

    def set_run_state(self, run: Run, state: str) -> Run:
        """Mark a run as success, failed or queued, as the UI's button does."""
        return _run(self.request("PATCH", run.path, json={"state": state}))

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
        return tuple(_task(task) for task in self._pages(f"{run.path}/taskInstances", "task_instances"))

    def task(self, run: Run, task_id: str, map_index: int = -1) -> Task:
        """One task instance.

        :raises AirflowRefused: 404 when the run has no such task
        """
        return _task(self.request("GET", _task_path(run, task_id, map_index)))

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
        self.request("PATCH", _task_path(run, task_id, map_index), json={"new_state": state})

    def clear(self, run: Run, task_ids: Sequence[str], *, downstream: bool = True) -> None:
        """Have tasks run again."""
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
        return "\n".join(_log_line(entry) for entry in answer["content"])

    def describe(self, run: Run) -> str:
        """Each task's state and the end of each failed task's log, for messages."""
        lines = []
        for task in self.tasks(run):
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
        return tuple(_question(detail) for detail in self._pages(path, "hitl_details", **params))

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
        return tuple(self._pages("eventLogs", "event_logs", order_by="-when", **params))

    # -- HTTP ------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Any call below ``/api/v2/``; the decoded answer, None when it is empty.

        :raises AirflowRefused: an error status
        :raises SandboxError: no answer
        """
        if not self._token:
            self._token = self._log_in()
        try:
            answer = self._http.request(
                method,
                f"/api/v2/{path}",
                json=json,
                params=params,
                headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
            )
        except httpx.HTTPError as error:
            raise SandboxError(f"no answer from Airflow to {method} {path}", seen=repr(error)) from error
        return _decoded(answer, f"{self.user} was refused {method} {path}")

    def _log_in(self) -> str:
        try:
            answer = self._http.post("/auth/token", json=self._credentials)
        except httpx.HTTPError as error:
            raise SandboxError("no answer from Airflow to a login", seen=repr(error)) from error
        return str(_decoded(answer, f"{self.user} cannot log in")["access_token"])

    def _pages(self, path: str, key: str, **params: object) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.request("GET", path, params={**params, "limit": _PAGE, "offset": offset})
            yield from page[key]
            offset += _PAGE
            if offset >= page["total_entries"]:
                return

    def _wait(self, look: Callable[[], Seen | None], deadline_seconds: float, what: str, run: Run) -> Seen:
        deadline = time.monotonic() + deadline_seconds
        while True:
            if (seen := look()) is not None:
                return seen
            if time.monotonic() >= deadline:
                raise SandboxError(
                    f"waited {deadline_seconds:g} s in vain for {what}", seen=f"\n{self.describe(run)}"
                )
            time.sleep(_POLL_SECONDS)


def _decoded(answer: httpx.Response, refused: str) -> Any:
    if not answer.content:
        content = None
    else:
        try:
            content = answer.json()
        except ValueError:
            content = answer.text
    if answer.is_error:
        detail = content.get("detail", content) if isinstance(content, dict) else content
        raise AirflowRefused(refused, status=answer.status_code, detail=detail)
    return content


def _task_path(run: Run, task_id: str, map_index: int | None) -> str:
    path = f"{run.path}/taskInstances/{quote(task_id, safe='')}"
    return path if map_index is None or map_index < 0 else f"{path}/{map_index}"


def _run(answer: Mapping[str, Any]) -> Run:
    return Run(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        state=answer["state"],
        conf=answer["conf"] or {},
        note=answer["note"],
        started=answer["start_date"],
        ended=answer["end_date"],
    )


def _task(answer: Mapping[str, Any]) -> Task:
    return Task(
        task_id=answer["task_id"],
        map_index=answer["map_index"],
        state=answer["state"] or "none",
        tries=answer["try_number"],
        started=answer["start_date"],
        ended=answer["end_date"],
        duration_seconds=answer["duration"],
        operator=answer["operator"],
        note=answer["note"],
    )


def _question(answer: Mapping[str, Any]) -> Question:
    task, responder = answer["task_instance"], answer["responded_by_user"]
    return Question(
        dag_id=task["dag_id"],
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        task_state=task["state"] or "none",
        subject=answer["subject"],
        body=answer["body"] or "",
        options=tuple(answer["options"]),
        params=answer["params"],
        assigned_users=tuple(user["id"] for user in answer["assigned_users"]),
        answer=tuple(answer["chosen_options"]) if answer["chosen_options"] else None,
        answered_by=responder["id"] if responder else None,
    )


def _log_line(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    words = [str(entry.get("timestamp") or ""), str(entry.get("level") or ""), str(entry.get("event", ""))]
    words += [
        f"{name}={entry[name]}" for name in sorted(set(entry) - _LOG_NOISE) if entry[name] not in (None, "", [])
    ]
    return " ".join(word for word in words if word)
