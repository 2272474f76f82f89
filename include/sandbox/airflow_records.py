"""What Airflow's REST API tells about runs, tasks and questions, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

# What the caller of log() knows anyway, or would not look for.
_LOG_NOISE = frozenset(
    {"timestamp", "level", "event", "logger", "filename", "lineno", "loc", "ti", "ti_id"}
    | {"dag_id", "run_id", "task_id", "map_index", "try_number"}
)


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
    """What a task asks humans, by name; ``answer`` and ``answered_by`` are None until somebody did."""

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


def task_path(run: Run, task_id: str, map_index: int | None) -> str:
    """The task instance's path below the API's root."""
    path = f"{run.path}/taskInstances/{quote(task_id, safe='')}"
    return path if map_index is None or map_index < 0 else f"{path}/{map_index}"


def run_of(answer: Mapping[str, Any]) -> Run:
    """The run an answer describes."""
    return Run(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        state=answer["state"],
        conf=answer["conf"] or {},
        note=answer["note"],
        started=answer["start_date"],
        ended=answer["end_date"],
    )


def task_of(answer: Mapping[str, Any]) -> Task:
    """The task instance an answer describes."""
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


def question_of(answer: Mapping[str, Any]) -> Question:
    """The question an answer describes."""
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
        assigned_users=tuple(user["name"] for user in answer["assigned_users"]),
        answer=tuple(answer["chosen_options"]) if answer["chosen_options"] else None,
        answered_by=responder["name"] if responder else None,
    )


def log_line(entry: object) -> str:
    """One entry of a structured log as a line: when, how bad, what, and what else it carries."""
    if not isinstance(entry, dict):
        return str(entry)
    words = [str(entry.get("timestamp") or ""), str(entry.get("level") or ""), str(entry.get("event", ""))]
    words += [
        f"{name}={entry[name]}" for name in sorted(set(entry) - _LOG_NOISE) if entry[name] not in (None, "", [])
    ]
    return " ".join(word for word in words if word)
