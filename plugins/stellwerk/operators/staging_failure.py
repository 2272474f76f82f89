"""What follows when a step of ``staging-deploy`` has failed: people are called, and a rehearsal has failed."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from stellwerk.operators.staging import InMode

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun

FIRST_WAIT: Final = timedelta(seconds=15)
LONGEST_WAIT: Final = timedelta(minutes=10)


class RecordFailure(InMode):
    """Call people because a step has failed, and record what a rehearsal has shown until then.

    Both are tried again for most of an hour. That people are called waits for no folder; that the rehearsal has
    failed is recorded without a file where none can be kept.
    """

    needs_digest = False

    def __init__(self, **kwargs: Any) -> None:
        patience: dict[str, Any] = {"retries": 8, "retry_delay": FIRST_WAIT, "max_retry_delay": LONGEST_WAIT}
        patience["retry_exponential_backoff"] = 2
        super().__init__(**{**patience, "mode": "", **kwargs})
        self._failed: tuple[str, ...] = ()
        self._rehearses = True

    def execute(self, context: Context) -> Any:
        """Remember which steps have failed, then call people."""
        self._failed = _failed_steps(context)
        self._rehearses = context["params"].get("mode") == "rehearsal"
        return super().execute(context)

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :mod:`include.steps.staging.failing`.

        :raises MessageError: nobody could be called; that it has failed is recorded all the same
        """
        from include.steps import page
        from include.steps.phase import has_begun
        from include.steps.staging.failing import conclude_failed, failed, failure, final_failure
        from stellwerk.hooks.reports import reports_folder
        from stellwerk.notifiers.transport import transports

        ledger = self.ledger(run)
        variant = "" if self._rehearses else ":final"
        if not has_begun(run, ledger, f"{run.phase}{variant}"):
            raise AirflowSkipException(
                "another run does this for this release: there is nothing to tell of this one"
            )
        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        if not self._rehearses:
            return {"called": page.call(run, ledger, final_failure(run, ledger, self._failed), send)}
        found = failed(run, ledger, self._failed)
        try:
            page.call(run, ledger, failure(run, ledger, found), send)
        finally:
            told = conclude_failed(run, ledger, reports_folder(), found)
        return told


def _failed_steps(context: Context) -> tuple[str, ...]:
    """The run's tasks that have failed; empty when Airflow does not say."""
    ti, run_id = context["ti"], context["dag_run"].run_id
    try:
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
    except Exception:  # whoever is to be called waits for no name
        logging.getLogger(__name__).warning("Airflow does not say which tasks have failed", exc_info=True)
        return ()
    return tuple(sorted(task for task, state in states.items() if str(state) == "failed"))
