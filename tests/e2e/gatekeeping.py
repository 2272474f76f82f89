"""A release held at its gate under one auth manager, and what those with edit rights can do to it by the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from kubernetes import client as kubernetes
from kubernetes import config

from include.bluegreen.slots import Slot
from include.ledger.approvals import DECISION
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.sandbox.airflow_client import RUN_ENDED, TASK_ENDED, AirflowClient, Question, Run
from include.sandbox.airflow_environment import DECIDERS, AuthManager
from include.sandbox.beside import Beside
from include.sandbox.environment import Sandbox
from include.sandbox.people import RELEASE_MANAGER, filled
from include.sandbox.processes import wait_until

DELEGATE = "security-officer"
FAILED, SUCCESS = frozenset({"failed"}), frozenset({"success"})
REFUSALS = ("ApprovalMissing", "ApprovalRefused")
# What stands directly before each step that acts on an approval.
# The watch's state comes first: it would begin as soon as what is before it has succeeded.
ACTING: Mapping[str, tuple[str, ...]] = {
    "clean_up": ("watch", "drain"),
    "cutover": ("verify_idle_slot",),
    "deploy_idle_slot": ("adopt",),
}
# It acts on what was installed before Stellwerk, and on nothing else.
ADOPTING: Mapping[str, tuple[str, ...]] = {"adopt": ("go_no_go.approve",)}


@dataclass
class Guarded:
    """An Airflow with its auth manager, on the sandbox of the suite."""

    sandbox: Sandbox
    place: Sandbox | Beside
    manager: AuthManager
    seen: dict[str, Any] = field(default_factory=dict)

    def client(self, user: str = "admin") -> AirflowClient:
        return self.place.airflow.client(user)

    def start(self, **more: object) -> Run:
        with self.client(RELEASE_MANAGER) as person:
            return person.trigger("production-blue-green", {"release": "3.0.0", "environment": "staging", **more})

    def asked(self, run: Run, task: str = "go_no_go.decide") -> dict[str, Question]:
        """Role → what its people are asked, as soon as everybody is."""
        with self.client() as observer:
            for index in range(len(DECIDERS)):
                observer.wait_for_question(run, task, map_index=index, deadline_seconds=90)
            return {question.assigned_users[0]: question for question in observer.questions(run)}

    def say(self, user: str, question: Question, option: str, **fields: object) -> None:
        with self.client(user) as person:
            person.answer(question, option, filled(question, f"{option} of {user}", **fields))

    def entries(self, run: Run, *kinds: str) -> tuple[Entry, ...]:
        ledger = Ledger(self.sandbox.postgres.url("stellwerk", "stellwerk_append"))
        return ledger.entries(run_id=run.run_id, kinds=kinds)

    def decisions(self, run: Run) -> list[tuple[str, str, str]]:
        """Role, person and choice of every decision."""
        return [
            (str(entry.payload["role"]), entry.actor, str(entry.payload["choice"]))
            for entry in self.entries(run, DECISION)
        ]


@contextmanager
def installed_before(sandbox: Sandbox, slot: Slot) -> Iterator[str]:
    """A Service as from before Stellwerk, by name: it selects a Helm release and no slot. No user comes by it."""
    name, namespace = "before-stellwerk", sandbox.options.namespace
    selector = {"app.kubernetes.io/instance": sandbox.environment.slot_release(slot)}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    with config.new_client_from_config(config_file=str(sandbox.cluster.kubeconfig)) as api:
        core = kubernetes.CoreV1Api(api)
        core.create_namespaced_service(
            namespace, {"metadata": {"name": name}, "spec": {"selector": selector, "ports": ports}}
        )
        try:
            yield name
        finally:
            core.delete_namespaced_service(name, namespace)


def refused(client: AirflowClient, run: Run, steps: Mapping[str, tuple[str, ...]] = ACTING) -> dict[str, str]:
    """Have each step run, whatever Airflow thinks of what is before it; step → how it ended, in one word."""
    return {
        step: next((name for name in REFUSALS if name in log), log[-2000:])
        for step, log in forced(client, run, steps).items()
    }


def forced(client: AirflowClient, run: Run, steps: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The same; step → its log. Each has to fail."""
    before = {step: client.task(run, step).tries for step in steps}
    for upstream in steps.values():
        _succeeded(client, run, upstream)
    for step, tries in before.items():
        wait_until(
            partial(_ran, client, run, step, steps[step], tries),
            deadline_seconds=60,
            what=f"{step} to run",
            poll_seconds=0.5,
        )
    for step in steps:
        client.wait_for_task(run, step, deadline_seconds=60, states=FAILED)
    return {step: client.log(run, step) for step in steps}


def _succeeded(client: AirflowClient, run: Run, tasks: tuple[str, ...]) -> None:
    for task in tasks:
        if client.task(run, task).state != "success":
            client.set_task_state(run, task, "success")


def _ran(client: AirflowClient, run: Run, step: str, upstream: tuple[str, ...], tries: int) -> bool:
    # Its end and a clear at the same instant leave a run that has ended with a task that has not.
    over = client.run(run).state in RUN_ENDED
    task = client.task(run, step)
    if task.tries > tries:
        return True
    if over or task.state in TASK_ENDED:
        # A scheduler that had read the states before writes over what was set: "upstream_failed".
        _succeeded(client, run, upstream)
        client.clear(run, [step], downstream=False)
    return False


def delete(client: AirflowClient, run: Run) -> None:
    client.request("DELETE", run.path)


def set_states_at_once(client: AirflowClient, run: Run, tasks: list[tuple[str, int]], state: str) -> Any:
    """The bulk call of the UI's grid."""
    entities = [
        {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "task_id": task,
            "map_index": index,
            "new_state": state,
        }
        for task, index in tasks
    ]
    body = {"actions": [{"action": "update", "entities": entities, "action_on_non_existence": "skip"}]}
    path = f"dags/{quote(run.dag_id, safe='')}/dagRuns/{quote(run.run_id, safe='')}/taskInstances"
    return client.request("PATCH", path, json=body)
