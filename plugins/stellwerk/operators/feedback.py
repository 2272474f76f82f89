"""What users say of a release, as tasks: recorded, told at once when it is critical, decided by people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from include.errors import ApprovalRefused, LedgerUnavailable, StellwerkError
from include.steps.feedback_form import CONFIRM, DISMISS
from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.operators.message import Announce, ledger_if_any
from stellwerk.operators.rollback import rollback_of
from stellwerk.people import assigned
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.steps.feedback import Report
    from include.steps.run import ReleaseRun

_PAGES = 24


class GiveFeedback(StellwerkOperator):
    """Record what the user who filled in the form says."""

    needs_digest = False
    despite_faults = True

    template_fields = ("verdict", "text")

    def __init__(
        self, *, verdict: str = "{{ params.verdict }}", text: str = "{{ params.text }}", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.verdict = verdict
        self.text = text

    def act(self, run: ReleaseRun) -> dict[str, str]:
        """See :func:`include.steps.feedback.give`."""
        from include.steps.feedback import give

        report = give(run, self.ledger(run), self.verdict, self.text)
        self.log.info("thank you: %s", report.sentence)
        return report.facts()


class AlertFeedback(Announce):
    """Call people at once about a critical report; skipped for every other."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(event="feedback-critical", **kwargs)  # type: ignore[arg-type]  # composed below

    def act(self, run: ReleaseRun) -> str:
        """Send the alert and return its key."""
        from include.steps.page import Matter, call
        from stellwerk.notifiers.transport import transports

        ledger = ledger_if_any(self, run)
        report = critical_report(run, ledger)
        connections = run.environment.connections
        matter = Matter(
            "feedback",
            f"critical feedback on {run.release.version} in {run.environment.name}",
            report.sentence,
            "decide under the required actions of this run: roll back now, or say why not",
        )
        return call(run, ledger, matter, transports(connections.slack, connections.smtp))


class AskRollBack(StellwerkOperator):
    """Ask the people of the gate about a critical report, again and again until one of them decides.

    It needs an answer and never takes silence for one: after each silence it pages and asks again, for as long as
    users are on the release. It waits as Airflow's own questions do: without worker or trigger.
    """

    needs_digest = False
    despite_faults = True

    def execute(self, context: Context) -> Any:
        """Ask, when there is something to decide."""
        self._context = context
        return super().execute(context)

    def act(self, run: ReleaseRun) -> NoReturn:
        """Ask.

        :raises AirflowSkipException: the report is not critical, or nobody is on the release
        """
        self._ask(run, critical_report(run, self.ledger(run)))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record what was decided; silence is recorded, pages, and asks again."""
        from include.steps.feedback import record_decided
        from include.steps.steering import people_of
        from include.watch.steer import answer_of

        self._context = context
        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            ledger = self.ledger(run)
            report = critical_report(run, ledger)
            answer = answer_of(event, now=datetime.now(UTC), accounts=run.environment.accounts)
            if answer is None or answer.user is None:
                self._silence(run, ledger, report)
                self._ask(run, report)
            if answer.user not in people_of(run.environment) or answer.choice not in (CONFIRM, DISMISS):
                self.log.warning("asked again: %s", answer.sentence)
                self._ask(run, report)
            record_decided(run, ledger, answer)
            self.note_ledger_head()
            self.log.info("%s", answer.sentence)
            if answer.choice != CONFIRM:
                raise AirflowSkipException(f"no rollback: {answer.sentence}")
        return {"user": answer.user, "why": answer.comment}

    def _ask(self, run: ReleaseRun, report: Report) -> NoReturn:
        from include.steps.feedback import in_traffic, patience_seconds, rollback_question
        from include.steps.steering import people_of
        from include.watch.steer import COMMENT

        try:
            useful = self.with_cluster(run, in_traffic)
        except StellwerkError as error:
            self.log.warning("whether there is something to roll back is not known: %s", error)
            useful = True
        if not useful:
            raise AirflowSkipException(f"{run.release.version} takes no traffic: nothing to roll back")
        comment = Param("", type="string", title="Comment", description="Why; kept in the ledger")
        asked = rollback_question(run, report)
        upsert_hitl_detail(
            self._context["ti"].id,
            [CONFIRM, DISMISS],
            asked.subject,
            asked.body,
            params={COMMENT: comment.serialize()},
            assigned_users=assigned(run.environment, people_of(run.environment)),
        )
        raise TaskAwaitingInput(
            method_name="execute_complete", timeout=timedelta(seconds=patience_seconds(run.environment))
        )

    def _silence(self, run: ReleaseRun, ledger: Ledger, report: Report) -> None:
        from include.steps.feedback import record_silence
        from include.steps.page import Matter, page
        from stellwerk.notifiers.transport import transports

        number = record_silence(run, ledger)
        self.log.warning("nobody has answered for the %d. time; nothing is rolled back by that", number)
        if number > _PAGES:
            raise ApprovalRefused(
                f"nobody decides about critical feedback on {run.release.version}",
                expected=f"{CONFIRM} or {DISMISS}",
                seen=f"silence, {number} times",
                remedy="clear this task to ask again; until somebody decides, the watch does not pass",
            )
        connections = run.environment.connections
        matter = Matter(
            f"feedback:silence:{number}",
            "nobody has decided yet about critical feedback",
            report.sentence,
            "decide under the required actions of this run: roll back now, or say why not",
        )
        page(run, ledger, matter, transports(connections.slack, connections.smtp))


class StartFeedbackRollback(StellwerkOperator):
    """Start DAG ``rollback`` for what somebody confirmed; skipped when nobody did."""

    needs_digest = False
    despite_faults = True

    def execute(self, context: Context) -> Any:
        """Look into the ledger, then hand over to Airflow."""
        super().execute(context)
        raise rollback_of(self._run, f"feedback__{self._run.run_id}", self._reason)

    def act(self, run: ReleaseRun) -> None:
        """Find the decision.

        :raises AirflowSkipException: nobody confirmed the report
        """
        ledger = self.ledger(run)
        report = critical_report(run, ledger)
        if report.standing != "confirmed":
            raise AirflowSkipException("nobody confirmed a rollback")
        self._run = run
        self._reason = f"critical feedback: {report.sentence}"
        self.log.info("starting rollback: %s", self._reason)


def critical_report(run: ReleaseRun, ledger: Ledger | None) -> Report:
    """This run's report.

    :raises AirflowSkipException: it is not critical: nobody has to decide anything
    :raises LedgerError: the ledger cannot be read
    """
    from include.steps.feedback import reports

    if ledger is None:
        raise LedgerUnavailable("the ledger cannot be opened", remedy="bring its database back")
    beginning = datetime.fromtimestamp(0, UTC)
    found = [
        report
        for report in reports(ledger, run.release.version, run.environment.name, since=beginning)
        if report.run_id == run.run_id
    ]
    if not found or not found[0].critical:
        raise AirflowSkipException("not critical: recorded, nobody has to decide anything")
    return found[0]
