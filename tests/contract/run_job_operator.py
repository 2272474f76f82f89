"""Runs the provider's KubernetesJobOperator outside of a scheduler; prints what came of it as JSON.

`run_job_operator.py NAMESPACE IMAGE sync|deferrable TEXT EXIT_CODE`; the connection `cluster` comes from the
environment. A process of its own: importing Airflow is slow and changes logging for good.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from airflow.providers.cncf.kubernetes.operators.job import KubernetesJobOperator
from airflow.sdk.exceptions import TaskDeferred


def main(namespace: str, image: str, mode: str, text: str, code: str) -> dict[str, Any]:
    pushed: dict[str, Any] = {}

    def push(key: str, value: object) -> None:
        pushed[key] = value

    instance = SimpleNamespace(
        dag_id="contract", task_id="job", map_index=-1, try_number=1, xcom_push=push, run_id=f"{mode}-{code}"
    )
    context: Any = {"ti": instance, "run_id": instance.run_id, "dag": SimpleNamespace()}
    operator = KubernetesJobOperator(
        task_id="job",
        kubernetes_conn_id="cluster",
        namespace=namespace,
        name=f"{mode}-{code}",
        image=image,
        image_pull_policy="IfNotPresent",
        arguments=["say", text, code],
        backoff_limit=0,
        wait_until_job_complete=True,
        job_poll_interval=0.5,
        deferrable=mode == "deferrable",
        get_logs=True,
        discover_pods_retry_number=50,
    )
    outcome = "succeeded"
    try:
        _execute(operator, context)
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "job": pushed.get("job_name")}


def _execute(operator: Any, context: Any) -> None:
    try:
        operator.execute(context)
    except TaskDeferred as deferred:
        event = asyncio.run(_first_event(deferred.trigger))
        getattr(operator, deferred.method_name)(context, event=event, **(deferred.kwargs or {}))


async def _first_event(trigger: Any) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
