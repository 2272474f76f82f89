"""Tasks that are resumed right after they parked: the DAGs of the defer/resume race (docs/adr/0002)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, Param, task

if TYPE_CHECKING:
    from airflow.sdk import Context


class Nap(BaseOperator):
    """Defers for `seconds`, then is done."""

    def __init__(self, *, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context: Context) -> None:
        """Defer."""
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=self.seconds)), method_name="woken")

    def woken(self, context: Context, event: Any) -> float:
        """Be done."""
        return self.seconds


with DAG("race-defer", schedule=None, params={"seconds": Param([0.0], type="array")}):

    @task
    def naps(params: dict[str, Any]) -> list[float]:
        """How long each of the naps takes."""
        return list(params["seconds"])

    Nap.partial(task_id="nap").expand(seconds=naps())


with DAG("race-ask", schedule=None, params={"questions": Param(4, type="integer")}):

    @task
    def subjects(params: dict[str, Any]) -> list[str]:
        """What is asked."""
        return [f"Question {number}" for number in range(params["questions"])]

    HITLOperator.partial(task_id="ask", options=["Yes", "No"]).expand(subject=subjects())
