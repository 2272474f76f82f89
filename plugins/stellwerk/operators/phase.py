"""The first and the last task of a top-level phase: begun by one run only, completed for the calendar to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.phase import RunState
    from include.steps.run import ReleaseRun


def run_states(instance: Any) -> RunState:
    """What a task can find out about the runs of other DAGs.

    :param instance: the task's
    """

    def run_state(dag_id: str, run: str) -> str | None:
        return instance.get_dagrun_state(dag_id, run) if instance.get_dr_count(dag_id, run_ids=[run]) else None

    return run_state


class _PhaseOperator(StellwerkOperator):
    """A step about the phase as a whole.

    :param variant: what this run does, where the DAG does several things; empty: what the calendar starts
    """

    template_fields: Sequence[str] = ("variant",)
    needs_digest = False

    def __init__(self, *, variant: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant

    def name_of(self, run: ReleaseRun) -> str:
        """What is begun and completed."""
        return f"{run.phase}:{self.variant}" if self.variant else run.phase


class ClaimPhase(_PhaseOperator):
    """Begin the phase; a run that comes second ends here.

    :param repeat_reason: why it is begun although another run has begun it
    """

    template_fields = ("variant", "repeat_reason")

    def __init__(self, *, repeat_reason: str = "{{ params.repeat_reason }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repeat_reason = repeat_reason

    def execute(self, context: Context) -> Any:
        """Begin it."""
        self._runs = context["ti"]
        return super().execute(context)

    def act(self, run: ReleaseRun) -> int:
        """See :func:`include.steps.phase.claim`."""
        from include.steps.phase import claim
        from include.steps.planned import record_plan

        ledger = self.ledger(run)
        attempt = claim(run, ledger, self.name_of(run), self.repeat_reason, run_states(self._runs))
        record_plan(run, ledger)
        self.log.info("attempt %d of %s", attempt, self.name_of(run))
        return attempt


class CompletePhase(_PhaseOperator):
    """Record that the phase has succeeded: what depends on it may begin."""

    def act(self, run: ReleaseRun) -> None:
        """See :func:`include.steps.phase.complete`."""
        from include.steps.phase import complete

        complete(run, self.ledger(run), self.name_of(run))


class RecordDoneByHand(_PhaseOperator):
    """Record that people have done the steps of a phase themselves.

    :param phase: which
    :param how: how they know
    """

    template_fields = ("phase", "how")

    def __init__(self, *, phase: str = "{{ params.phase }}", how: str = "{{ params.how }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.phase = phase
        self.how = how

    def execute(self, context: Context) -> Any:
        """Record it."""
        self._runs = context["ti"]
        return super().execute(context)

    def act(self, run: ReleaseRun) -> int:
        """See :func:`include.steps.phase.done_by_hand`."""
        from include.steps.phase import done_by_hand

        return done_by_hand(run, self.ledger(run), self.phase, self.how, run_states(self._runs))
