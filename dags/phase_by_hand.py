"""People have done the steps of a phase themselves, and say so: the calendar goes on (docs/release-manager.md)."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from include.plan.timeline import BY_HAND
from stellwerk.operators.phase import RecordDoneByHand
from stellwerk.params import release_params

with DAG(
    dag_id="phase-by-hand",
    description="Record that people have done the steps of a phase themselves",
    schedule=None,
    catchup=False,
    params=release_params(
        environment=Param(
            "production",
            type="string",
            enum=sorted({phase.environment for phase in BY_HAND}),
            title="Environment",
            description="What the phase is about.",
        ),
        phase=Param(type="string", enum=[phase.name for phase in BY_HAND], title="Phase"),
        how=Param(
            type="string",
            minLength=3,
            maxLength=300,
            title="How do you know?",
            description="One sentence. It is recorded with your name",
        ),
    ),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
    tags=["stellwerk", "calendar"],
    doc_md="""
For a phase without a DAG: do its steps by hand, then say here that they are done. What depends
on the phase may begin then; it stands in the ledger with your name. It approves nothing: every gate asks all the
same, and a rehearsal in staging is proven by its own evidence and by nothing else.
""",
) as dag:
    RecordDoneByHand(task_id="record")
