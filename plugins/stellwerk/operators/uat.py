"""Key users test a release, each with a form of their own; what they say becomes an entry of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import sleep
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.operators.question import PAUSE, GateQuestion
from stellwerk.people import assigned
from stellwerk.runs import release_run
from stellwerk.uat_form import Kept, form_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun

SUBMIT: Final = "Submit"
PATIENCE: Final[dict[str, Any]] = {
    "retries": 8,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
}
"""How long an answer is tried to be recorded; for the DAG: Airflow makes a mapped operator without its class."""
_SHORTEST: Final = timedelta(seconds=1)


class KeyUsers(StellwerkOperator):
    """Name the key users, so that each is asked by a task of its own."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> list[dict[str, str]]:
        """Return one mapping for each user."""
        from include.steps.staging.acceptance import key_users

        return [{"user": user} for user in key_users(run)]


class UatForm(StellwerkOperator):
    """Ask one key user what works. Silence until the deadline is recorded as not tested; it fails nothing here.

    It waits as Airflow's own questions do: without worker or trigger. What was answered is kept by Airflow, under
    seal, before anything is done with it: a try that follows goes on with it, and asks nobody twice.

    :param user: who is asked, and alone may answer
    """

    needs_digest = False

    def __init__(self, *, user: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user = user

    def execute(self, context: Context) -> Any:
        """Ask, or go on with the answer that an earlier try was given; who clears the form asks anew."""
        self._context = context
        with airflow_errors(self.log):
            kept = self._kept(release_run(context, with_digest=False))
            event = None if _is_first_try(context, self.retries or 0) else kept.read()
        if event is not None:
            self.log.info("going on with the answer that was given already")
            return self.execute_complete(context, event)
        kept.forget()
        return super().execute(context)

    def _kept(self, run: ReleaseRun) -> Kept:
        return Kept(self._context, run.environment.connections.ledger)

    def act(self, run: ReleaseRun) -> NoReturn:
        """Ask.

        :raises NotAccepted: the plan does not name this user
        :raises EnvironmentHeld: another release has the environment
        :raises EvidenceError: users of the environment do not get what this run has deployed
        """
        self._ask(run, self.ledger(run))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer or the silence; an answer without what makes it count is asked for again."""
        from include.steps.staging.acceptance import (
            acceptance_of,
            asked,
            blockers,
            record_not_counted,
            record_silence,
            record_tested,
            told,
        )
        from include.steps.staging.serving import elsewhere, look
        from include.steps.staging.uat import read
        from include.watch.steer import answer_of

        self._context = context
        with airflow_errors(self.log):
            run = self._keep(context, event)
            ledger, now = self.ledger(run), datetime.now(UTC)
            answer = answer_of(event, now=now, accounts=run.environment.accounts)
            if answer is None or answer.user is None:
                deadline = asked(run, ledger, self.user, now)
                if answer is None and deadline - now > _SHORTEST:
                    self._remind(run, ledger, deadline)
                record_silence(run, ledger, self.user, deadline)
                self.note_ledger_head()
                self.log.warning("%s has not tested", self.user)
                return {"user": self.user, "tested": False}
            given = event.get("params_input")
            tested = read(
                self.user, given if isinstance(given, dict) else {}, acceptance_of(run).cases_of(self.user)
            )
            if answer.user != self.user:
                tested = f"{answer.user} has answered, and {self.user} was asked"
            if isinstance(tested, str):
                self._ask(run, ledger, tested)
            seen = self.with_cluster(run, lambda run, cluster: look(run, cluster, ledger))
            if not seen["ok"]:
                record_not_counted(run, ledger, tested, answer.at, str(seen["problem"]))
                raise elsewhere(run, str(seen["problem"]), f"the test of {self.user}")
            facts = record_tested(run, ledger, tested, answer.at).payload
            self.note_ledger_head()
            self._call(run, ledger, blockers(run, tested))
            self._kept(run).forget()
            self.log.info("%s", told(facts))
        return {"user": self.user, "tested": True, "findings": len(facts["findings"])}

    def _keep(self, context: Context, event: dict[str, Any]) -> ReleaseRun:
        """Keep what was answered, by the run's ledger. Until both can be read, Airflow goes on holding it."""
        from include.errors import StellwerkError

        try:
            run = release_run(context, with_digest=False)
            self._kept(run).write(event)
        except StellwerkError as error:
            at = event.get("responded_at")
            if not isinstance(at, datetime) or datetime.now(UTC) - at > GateQuestion.ledger_patience:
                raise
            self.log.warning("held until the answer can be kept: %s", error)
            sleep(PAUSE.total_seconds())
            raise TaskAwaitingInput(method_name="execute_complete", timeout=PAUSE) from error
        return run

    def _call(self, run: ReleaseRun, ledger: Ledger, matter: Matter | None) -> None:
        """Call people; it is tried again as long as there are tries, and stops nobody's test.

        :raises MessageError: nobody could be called, and there are tries left
        """
        from include.errors import MessageError
        from include.steps import page
        from stellwerk.notifiers.transport import transports

        if matter is None:
            return
        connections, ti = run.environment.connections, self._context["ti"]
        try:
            page.call(run, ledger, matter, transports(connections.slack, connections.smtp))
        except MessageError as error:
            if ti.try_number <= ti.max_tries:
                raise
            self.log.error("nobody could be called: %s", error)  # noqa: TRY400 - the sentence says it all

    def _ask(self, run: ReleaseRun, ledger: Ledger, problem: str = "") -> NoReturn:
        """Ask, with the environment held until the deadline.

        Airflow shows the words and fields of the first asking whenever a form comes back, and takes the answer
        away: why it came back is told beside it.
        """
        from include.steps.staging.acceptance import asked, hold_for_test, must_be_key_user, question
        from include.steps.staging.invitation import invite
        from stellwerk.notifiers.transport import transports

        must_be_key_user(run, self.user)
        self.with_cluster(run, lambda run, cluster: hold_for_test(run, cluster, ledger))
        now = datetime.now(UTC)
        deadline = asked(run, ledger, self.user, now)
        if problem:
            self.log.warning("asked again: %s", problem)
            self._context["ti"].xcom_push(key="asked_again", value=problem)
        shown = question(run, self.user, deadline)
        upsert_hitl_detail(
            self._context["ti"].id,
            [SUBMIT],
            shown.subject,
            shown.body,
            params=form_of(run, self.user),
            assigned_users=assigned(run.environment, [self.user]),
        )
        self._kept(run).forget()
        connections = run.environment.connections
        invite(run, ledger, self.user, deadline, transports(connections.slack, connections.smtp), problem)
        self._wait(run, deadline)

    def _remind(self, run: ReleaseRun, ledger: Ledger, deadline: datetime) -> NoReturn:
        """Remind the user, and go on waiting: nothing has been answered, and there is time left."""
        from include.steps.staging.invitation import invite
        from stellwerk.notifiers.transport import transports

        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        invite(run, ledger, self.user, deadline, send, "", reminder=True)
        self._kept(run).forget()
        self._wait(run, deadline)

    def _wait(self, run: ReleaseRun, deadline: datetime) -> NoReturn:
        """Wait for the answer, until it is time to remind or until the deadline."""
        from include.steps.staging.acceptance import acceptance_of

        left = deadline - datetime.now(UTC)
        last_quarter = timedelta(seconds=acceptance_of(run).timeout_seconds / 4)
        timeout = left - last_quarter if left > last_quarter else left
        raise TaskAwaitingInput(method_name="execute_complete", timeout=max(_SHORTEST, timeout))


def _is_first_try(context: Context, retries: int) -> bool:
    """Whether this is the first try since the task was made or cleared."""
    ti = context["ti"]
    return ti.try_number <= ti.max_tries - retries + 1


class ConcludeUat(StellwerkOperator):
    """Judge what all key users have said: blocking findings, and tests that are missing, stop the release."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.acceptance.conclude`."""
        from include.steps.staging.acceptance import conclude

        return conclude(run, self.ledger(run))
