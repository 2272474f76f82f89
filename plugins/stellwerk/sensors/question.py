"""The end of a watch's question: whatever was answered too late is shown, and nobody answers into the void."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.runs import release_run
from stellwerk.sensors.steered import QUESTION_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun


class CloseWatchQuestion(StellwerkOperator):
    """Show what was answered when there was nothing to steer any more, and close the question for good.

    The watch closes its question itself when it ends; this is for one that was killed or ended by hand, and for
    the moments in between. It fails no run.

    :param watched: id of the watch's task
    """

    def __init__(self, *, watched: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = watched

    def execute(self, context: Context) -> Any:
        """Defer to a trigger, which can read what a task cannot; skipped when nobody was asked."""
        from stellwerk.triggers.question import CloseQuestionTrigger

        ti_id = context["ti"].xcom_pull(task_ids=self.watched, key=QUESTION_KEY)
        if not ti_id:
            raise AirflowSkipException("nobody was asked: there was no watch")
        self.defer(
            trigger=CloseQuestionTrigger(ti_id=str(ti_id), why="the watch is over"),
            method_name="execute_complete",
        )

    def act(self, run: ReleaseRun) -> Any:
        """Not used: the trigger acts."""

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Write what was answered too late to the log and the ledger."""
        from include.steps.steering import record_late, was_heard
        from include.watch.steer import answer_of

        with airflow_errors(self.log):
            if event.get("unknown"):
                self.log.warning("whether somebody answered too late is not known: %s", event["unknown"])
                return "not known"
            run = release_run(context, with_digest=False)
            ledger = self.ledger(run)
            accounts = run.environment.accounts
            answer = answer_of(event["answer"] or {}, now=datetime.now(UTC), accounts=accounts)
            if answer is None or was_heard(run, ledger, answer):
                self.log.info("nobody answered too late")
                return "nobody answered too late"
            self.log.warning("answered too late: %s", answer.sentence)
            record_late(run, ledger, answer, "the watch was over")
            self.note_ledger_head()
            return f"answered too late: {answer.sentence}"
