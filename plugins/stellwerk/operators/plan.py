"""The plan's files as a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator

from stellwerk.operators.base import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidatePlan(BaseOperator):
    """Fail with everything that is wrong with the plan's files."""

    def execute(self, context: Context) -> dict[str, list[str]]:
        """Read them as they are now, and return what they hold."""
        from include.plan.loader import load_plan, plan_folder
        from include.plan.validation import refuse_faults

        with airflow_errors(self.log):
            plan = load_plan(plan_folder())
            refuse_faults(plan, datetime.now(UTC))
        return {"releases": sorted(plan.releases), "environments": sorted(plan.environments)}
