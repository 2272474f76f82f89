"""The watch after cutover: one deferred task that ends with a verdict, or with the old version back in traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.errors import StellwerkError
from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun


class ReleaseWatch(StellwerkOperator):
    """Watch the active slot until the window ends.

    A sensor that never pokes: it takes the baseline, then defers to
    :class:`stellwerk.triggers.watch.WatchTrigger`. The start, the deadline and the baseline are in the ledger, so
    a retry goes on with the same window instead of beginning another. Deferred, it does nothing in ``on_kill``:
    that also fires when another triggerer takes over.
    """

    def act(self, run: ReleaseRun) -> dict[str, Any]:  # noqa: RET503 - defer never returns
        """Begin (or resume) the watch and defer; a watch that has passed stays passed."""
        from include.steps.record import WATCH_PASSED, recorded
        from include.steps.watch import begin_watch
        from stellwerk.triggers.watch import WatchTrigger

        ledger = self.ledger(run)
        if passed := recorded(ledger, run, WATCH_PASSED):
            self.log.info("nothing to do: the watch has passed, ledger entry %d", passed.sequence)
            return dict(passed.payload)
        config = begin_watch(run, ledger)
        self.log.info("watching %s until %s", config.target, config.deadline_text)
        self.defer(trigger=WatchTrigger(config=config.dump()), method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record how the watch ended; everything but PASSED fails the task, for good."""
        from include.steps.watch import WatchOutcome, conclude_watch

        with airflow_errors(self.log):
            run = release_run(context)
            outcome = WatchOutcome.load(event)
            self.log.info("%s: %s", outcome.result, outcome.sentence)
            try:
                return conclude_watch(run, self.ledger(run), outcome)
            except StellwerkError:
                context["ti"].xcom_push(key="outcome", value=outcome.dump())
                raise
            finally:
                self.note_ledger_head()
