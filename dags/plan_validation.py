"""The plan's files, checked: what is wrong with them is this file's import error, and no other DAG's."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from include.plan.loader import load_plan, plan_folder
from include.plan.validation import refuse_faults
from stellwerk.operators.plan import ValidatePlan

# In the UI under "Import errors", with file, line and remedy, for as long as it lasts.
refuse_faults(load_plan(plan_folder()), datetime.now(UTC))

with DAG(
    dag_id="validate-plan",
    description="Check the files of the plan, as `make validate` does",
    schedule=None,
    catchup=False,
    tags=["stellwerk", "calendar"],
    doc_md="""
Trigger it after a change to `releases/` or `environments/` to see at once whether they are in order. Without it
the DAG processor checks them, too: while something is wrong, this DAG has an import error that says what. Only the
release it is about is not started; everything else goes on.
""",
) as dag:
    ValidatePlan(task_id="validate")
