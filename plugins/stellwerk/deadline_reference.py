"""From when a run's deadlines count."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class RunAsked(BaseDeadlineReference):
    """When somebody asked for the run; a task of it that is cleared later changes nothing about that.

    Airflow's own ``DAGRUN_QUEUED_AT`` moves with each clear, and cannot: Airflow 3.3.2 keeps an interval as a
    mapping, and ``airflow.models.taskinstance._recalculate_dagrun_queued_at_deadlines`` reads it as seconds, so
    that no task of the run can be cleared or set by hand before its last deadline.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        wanted = select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return session.scalar(wanted)
