"""The steps of ``rollback`` as tasks, and the step that starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun


class _Rollback(StellwerkOperator):
    """A step that needs what the human (or the watch) asked for."""

    template_fields = ("option", "reason")

    def __init__(
        self, *, option: str = "{{ params.option }}", reason: str = "{{ params.reason }}", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.option = option
        self.reason = reason


class RollbackEligibility(_Rollback):
    """Say which options are possible and why, and refuse one that is not."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.choose`."""
        from include.steps.rollback import choose

        return self.with_cluster(run, lambda run, cluster: choose(run, cluster, self.option))


class SwitchBack(_Rollback):
    """Return the traffic to the slot it came from, unless that has been done already."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.switch_back`."""
        from include.steps.rollback import record_switch_back, switch_back

        done = self.with_cluster(run, lambda run, cluster: switch_back(run, cluster, self.reason))
        try:
            record_switch_back(run, self.ledger(run), done)
        except Exception:  # a ledger that is out must not turn a rollback that worked into a failure
            self.log.exception("the switch back is done but could not be recorded; the summary tries again")
        return done


class DrainBadSlot(StellwerkOperator):
    """Move the connections that stayed on the slot that was left, and measure until nobody is there."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.drain_bad_slot`."""
        from include.steps.rollback import drain_bad_slot

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: drain_bad_slot(run, cluster, ledger))


class VerifyTraffic(_Rollback):
    """Prove that users get the old version again."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.verify_traffic`."""
        from include.steps.rollback import verify_traffic

        return self.with_cluster(run, lambda run, cluster: verify_traffic(run, cluster))


class RollbackSummary(_Rollback):
    """Write the rollback's end to the ledger and the whole story to the log."""

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.rollback.summarise`."""
        from include.steps.rollback import summarise

        ledger = self.ledger(run)
        return self.with_cluster(run, lambda run, cluster: summarise(run, cluster, ledger, self.reason))


class StartRollback(StellwerkOperator):
    """Start ``rollback`` when the watch switched back, or wanted to and could not.

    It runs after a failed watch and looks at the world, not at the failure: where nothing was ever cut over, or a
    human already rolls back, there is nothing to start and the task is skipped.
    """

    def execute(self, context: Context) -> Any:
        """Decide, then hand over to Airflow."""
        super().execute(context)
        raise DagRunTriggerException(
            trigger_dag_id="rollback",
            dag_run_id=f"after__{self._run.run_id}",
            conf={
                "release": self._run.release.version,
                "environment": self._run.environment.name,
                "option": "auto",
                "reason": self._reason[:500],
            },
            logical_date=None,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=["success"],
            failed_states=["failed"],
            poke_interval=5,
            deferrable=False,
        )

    def act(self, run: ReleaseRun) -> None:
        """Find out whether there is a rollback to start.

        :raises AirflowSkipException: there is none
        """
        from include.steps.rollback import why_roll_back

        self._run = run
        reason = self.with_cluster(run, lambda run, cluster: why_roll_back(run, cluster, self.ledger(run)))
        if reason is None:
            raise AirflowSkipException("no rollback to start: the traffic is where a human or nobody moved it")
        self._reason = reason
        self.log.info("starting rollback: %s", reason)
