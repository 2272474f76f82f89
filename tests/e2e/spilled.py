"""Where a secret would show: everything that Airflow tells about runs, and every file that people may read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.airflow_records import task_path
from include.sandbox.environment import Sandbox

READ = ("airflow/logs", "inbox", "logs", "reports", "ledger-heads", "backups", "plan")
"""Folders of a sandbox's state that hold no secret on purpose."""


def secrets_of(sandbox: Sandbox) -> Mapping[str, str]:
    """What must be nowhere, by what it opens."""
    return {
        "the application's database": sandbox.postgres.password("valeo_erp"),
        "the ledger": sandbox.postgres.password("stellwerk_append"),
        "Airflow's database": sandbox.postgres.password("airflow"),
        "Slack": sandbox.slack_token,
    }


def spilled(sandbox: Sandbox, client: AirflowClient, runs: Iterable[Run]) -> tuple[list[str], int]:
    """Where which secret shows, and how many places were looked at."""
    found, looked = [], 0
    forms = {(what, form) for what, one in secrets_of(sandbox).items() for form in (one, quote(one, safe=""))}
    for place, text in (*told(client, runs), *written(sandbox.options.state)):
        looked += 1
        found += [f"{what}: {place}" for what, form in forms if form in text]
    return sorted(set(found)), looked


def told(client: AirflowClient, runs: Iterable[Run]) -> Iterator[tuple[str, str]]:
    """Task instances with their rendered fields, XComs, questions and answers, and the audit log."""
    for run in runs:
        for task in client.pages(f"{run.path}/taskInstances", "task_instances"):
            name = f"{run.run_id} {task['task_id']}[{task['map_index']}]"
            yield f"{name}: task instance", json.dumps(task)
            for one in client.pages(f"{task_path(run, task['task_id'], None)}/xcomEntries", "xcom_entries"):
                value = client.xcom(run, task["task_id"], one["key"], one["map_index"])
                yield f"{name}: XCom {one['key']}", json.dumps(value)
        for question in client.pages(f"{run.path}/hitlDetails", "hitl_details"):
            yield f"{run.run_id}: question", json.dumps(question)
        yield f"{run.run_id}: audit log", json.dumps([dict(event) for event in client.events(run)])


def written(state: Path) -> Iterator[tuple[str, str]]:
    """The files of those folders."""
    for folder in READ:
        for file in sorted((state / folder).rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield str(file.relative_to(state)), file.read_bytes().decode("utf-8", "replace")
