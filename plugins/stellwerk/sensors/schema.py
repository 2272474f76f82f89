"""The watch of the running version on a migrated schema: a deferred task that ends with its window (ADR 0012)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowSkipException

from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.paging import call_people
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun
    from include.watch.schema import SchemaWindow


class SchemaWatch(StellwerkOperator):
    """Watch the slot that takes the traffic until the window ends, a trigger fires, or the traffic is moved.

    A sensor that never pokes: it defers to :class:`stellwerk.triggers.schema.SchemaWatchTrigger`. Its window is in
    the ledger: a retry goes on with the same one, and whoever clears the task after a failure gets another. It
    moves nothing: all but a pass fails the task, and humans decide about the recorded way back.
    """

    needs_digest = False
    despite_faults = True
    _retried = False

    def execute(self, context: Context) -> Any:
        """Begin (or resume) the watch and defer."""
        ti = context["ti"]
        # As Airflow counts: clearing a task lets it begin again with all of its retries.
        self._retried = ti.try_number > ti.max_tries - (self.retries or 0) + 1
        return super().execute(context)

    def act(self, run: ReleaseRun) -> Any:
        """Defer; a watch that has passed stays passed, and where nothing was migrated nothing is watched."""
        from include.steps.database.watch import begin_window, open_window, settled

        ledger = self.ledger(run)
        if (told := settled(run, ledger)) is not None:
            self.log.info("nothing to watch: %s", told["sentence"])
            return told
        window = open_window(run, ledger, retried=self._retried)
        if window is None:
            window = self.with_metrics(
                run, lambda run, cluster, prometheus: begin_window(run, cluster, ledger, prometheus)
            )
        return self._watch(window)

    def execute_complete(self, context: Context, event: dict[str, Any], window: dict[str, Any]) -> Any:
        """Go on after a notice, end after everything else."""
        from include.steps.database.watch import called_for, conclude
        from include.watch.config import WatchOutcome
        from include.watch.schema import SchemaWindow

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            watched, outcome = SchemaWindow.load(window), WatchOutcome.load(event)
            self.log.info("%s: %s", outcome.result, outcome.sentence)
            call_people(self, run, called_for(watched, outcome))
            if outcome.result == "NOTICE":
                return self._watch(watched.after(outcome))
            try:
                return conclude(run, self.ledger(run), watched, outcome)
            finally:
                self.note_ledger_head()

    def _watch(self, window: SchemaWindow) -> NoReturn:
        from stellwerk.triggers.schema import SchemaWatchTrigger

        self.log.info("watching %s on the new schema until %s", window.target, window.deadline_text)
        self.defer(
            trigger=SchemaWatchTrigger(window=window.dump()),
            method_name="execute_complete",
            kwargs={"window": window.dump()},
        )


class LeftSchemaWatch(SchemaWatch):
    """The same on what a migration has left that did not come to its watch: half-way, or another schema."""

    def act(self, run: ReleaseRun) -> Any:
        """Defer; skip where the migration has come to its watch."""
        from include.steps.database.entries import MIGRATION_VERIFIED
        from include.steps.record import recorded

        if recorded(self.ledger(run), run, MIGRATION_VERIFIED):
            raise AirflowSkipException("the migration has come to its watch")
        return super().act(run)
