"""The people of the demo: they look at what Airflow asks and answer, over the REST API as the UI does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from include.errors import SandboxError
from include.sandbox.airflow import AirflowRuntime
from include.sandbox.airflow_client import PATIENCE, Question, Run
from include.sandbox.airflow_environment import DECIDERS

RELEASE_MANAGER = "release-manager"
MIGRATION_DECIDERS = ("technical-lead", "on-call-lead")


def trigger_release(airflow: AirflowRuntime, version: str, environment: str = "production") -> Run:
    """Start ``production-blue-green`` as the release manager."""
    with airflow.client(RELEASE_MANAGER) as client:
        return client.trigger("production-blue-green", {"release": version, "environment": environment})


def trigger_migration(airflow: AirflowRuntime, version: str, mode: str, environment: str = "production") -> Run:
    """Start ``db-migration`` as the release manager."""
    with airflow.client(RELEASE_MANAGER) as client:
        return client.trigger("db-migration", {"release": version, "environment": environment, "mode": mode})


def filled(question: Question, comment: str, **fields: object) -> dict[str, object]:
    """The question's form as somebody fills it in who vouches for every point."""
    form = {name: field["value"] for name, field in question.params.items()}
    ticked = dict.fromkeys((name for name in form if name.startswith("point_")), True)
    return {**form, **ticked, "comment": comment, **fields}


def answer_gate(
    airflow: AirflowRuntime,
    run: Run,
    option: str = "Go",
    *,
    people: Sequence[str] = DECIDERS,
    deadline_seconds: float = 120,
) -> list[Question]:
    """Have everybody who is asked answer; return what they were asked.

    :param people: who has to be asked
    :raises SandboxError: not everybody was asked in time, or the run ended first
    """
    answered: dict[str, Question] = {}
    deadline = time.monotonic() + PATIENCE * deadline_seconds
    with airflow.client() as observer:
        while len(answered) < len(people):
            for question in observer.questions(run):
                user = question.assigned_users[0]
                if user not in answered:
                    with airflow.client(user) as person:
                        person.answer(question, option, filled(question, f"{option} after reading the evidence"))
                    answered[user] = question
            state = observer.run(run).state
            if state in ("failed", "success") or time.monotonic() > deadline:
                raise SandboxError(
                    "the gate did not ask everybody",
                    expected=", ".join(people),
                    seen=f"{', '.join(answered) or 'nobody'}; the run is {state}: {observer.describe(run)}",
                )
            time.sleep(0.3)
    return list(answered.values())
