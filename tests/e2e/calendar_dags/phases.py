"""Phases that do nothing but say that they acted, so that what the calendar starts can be counted.

``post-release`` is missing on purpose.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param, task

from stellwerk.operators.phase import ClaimPhase, CompletePhase
from stellwerk.params import phase_params


@task
def act(**context: object) -> None:
    """Write a line for each time the phase has acted; fail as long as a file of the release's name says so."""
    import os
    from pathlib import Path

    dag_run, params = context["dag_run"], context["params"]
    folder = Path(os.environ["CALENDAR_ACTED"])
    if (folder / f"fail-{params['release']}").exists():  # type: ignore[index]
        raise RuntimeError("as the test wants it")
    with (folder / "acted").open("a") as stream:
        stream.write(f"{params['release']} {dag_run.dag_id} {dag_run.run_id}\n")  # type: ignore[index,attr-defined]


for name in ("release-preparation", "staging-deploy", "final-check", "release-day"):
    with DAG(
        dag_id=name,
        schedule=None,
        params=phase_params(mode=Param("rehearsal", enum=["rehearsal", "final"])),
    ) as dag:
        ClaimPhase(task_id="claim") >> act() >> CompletePhase(task_id="complete")
    globals()[name] = dag
