"""Every minute: starts each top-level phase of each release when it is due, once (DEPLOYMENT-PLAN, "Timeline")."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from stellwerk.operators.calendar import LookAtCalendar, StartPhase

with DAG(
    dag_id="release-calendar",
    description="Start each phase of each release when it is due, once",
    schedule="* * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a look that was missed is made up for by the next one
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args={"priority_weight": 1000, "weight_rule": "absolute"},  # what is due waits behind no other task
    tags=["stellwerk", "calendar"],
    doc_md="""
The log of `look` says what is due when, what is held up and why, and what was missed; `make calendar` prints
it, too. The files of `releases/` and `environments/` are read anew every minute: a new or removed one needs no
restart.

A phase is started once, whatever happens to its date afterwards: its run is called `<release>__<phase>`. It is
started only after the phases that it depends on have succeeded, and never later than its `late_minutes`; what
falls due while this DAG is paused is caught up within that time. T-0's phases are `release-day`'s to start.
""",
) as dag:
    look = LookAtCalendar(task_id="look", execution_timeout=timedelta(minutes=2))
    StartPhase.partial(task_id="start", map_index_template="{{ task.release }} {{ task.phase }}").expand_kwargs(
        look.output
    )
