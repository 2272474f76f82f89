"""A task that humans can steer while it waits in a trigger."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from tests.e2e.steered import Look, Steered

with DAG(
    "runtime-steered",
    schedule=None,
    params={
        "seconds": Param(60.0),
        "pause_before": Param(0.0),
        "pause_after": Param(0.0),
        "look_after": Param(0.0),
        "close": Param(False),
    },
):
    Steered(task_id="ask") >> Look(task_id="look", trigger_rule="all_done")
