"""Give an adopted installation back to its Helm release: until the cutover, or after a switch back."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from stellwerk.operators.adoption import UndoAdoption
from stellwerk.params import release_params

with DAG(
    dag_id="undo-adoption",
    description="Give the traffic Service back to the Helm release it was adopted from",
    schedule=None,
    max_active_runs=1,
    catchup=False,
    params=release_params(
        reason=Param("", type="string", maxLength=500, title="Reason", description="Why; kept in the ledger"),
    ),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
    tags=["stellwerk", "rollback"],
    doc_md="""
For an environment that was installed in place and adopted by its first release. Name that release. The old Helm
release, the Service's ownership and its selector become what they were; the traffic does not move, and the release
that is under way cannot cut over any more. After a cutover, switch back first (DAG `rollback`).
""",
) as dag:
    UndoAdoption(task_id="undo_adoption")
