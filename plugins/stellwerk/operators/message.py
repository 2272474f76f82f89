"""Telling people: a message of the release, said once, never in the way of the release."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from include.errors import LedgerError, MessageError, MessageUnanswered, StellwerkError
from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from include.bluegreen.state import ServiceState
    from include.ledger.store import Ledger
    from include.messages.rollback import Duty
    from include.steps.announce import Event
    from include.steps.run import ReleaseRun


FIRST_WAIT: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(seconds=15)
FIRST_MAIL_WAIT: Final = timedelta(seconds=15)
LONGEST_MAIL_WAIT: Final = timedelta(minutes=10)
LONGEST_DOUBT: Final = timedelta(minutes=10)
MAILS: Final = ("announcement", "completion")


class AfterDoubt(RetryPolicy):
    """What may have arrived is not sent again at once, nor again and again.

    :param look_meanwhile: try as often as ever where the ledger knows of the doubt: a try sends nothing before its
        time then, and looks after deadlines
    """

    def __init__(self, *, look_meanwhile: bool = False) -> None:
        self.look_meanwhile = look_meanwhile

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Wait as long as the error says; longer each time where nobody could record it."""
        cause = exception.__cause__
        if not isinstance(cause, MessageUnanswered) or (cause.recorded and self.look_meanwhile):
            return RetryDecision.default()
        seconds = cause.wait_seconds * (1 if cause.recorded else try_number)
        return RetryDecision.retry(min(timedelta(seconds=seconds), LONGEST_DOUBT), "it may have arrived")


class Announce(StellwerkOperator):
    """Send one of the plan's messages.

    A dead Slack or mail server is tried again a few times, a mail for most of an hour; then the task is skipped
    with the reason, and at once where trying is no use. The failure is in the ledger: what has happened to the
    traffic does not become undone because nobody could be told.

    :param event: what happened, see :mod:`include.steps.announce`; ``announcement`` and ``completion`` are mails
        about production, wherever they are sent from
    """

    needs_digest = False  # a message deploys no image, and need not wait for the ledger
    despite_faults = True

    def __init__(self, *, event: Event, **kwargs: Any) -> None:
        patience: dict[str, Any] = {"retries": 2}
        if event in MAILS:
            patience = {"retries": 8, "retry_delay": FIRST_MAIL_WAIT, "max_retry_delay": LONGEST_MAIL_WAIT}
            patience["retry_exponential_backoff"] = 2
        super().__init__(**{"retry_policy": AfterDoubt(), **patience, **kwargs})
        self.event = event

    def execute(self, context: Context) -> Any:
        """Send, retry, give up honestly."""
        try:
            return super().execute(context)
        except AirflowException as error:
            cause, ti = error.__cause__, context["ti"]
            # Tries are counted over all clears, and so is their limit.
            if isinstance(cause, MessageError) and (not cause.retryable or ti.try_number > ti.max_tries):
                raise AirflowSkipException(f"given up after {ti.try_number} tries: {error}") from error
            raise

    def act(self, run: ReleaseRun) -> str:
        """Send the event's message and say what became of it; skip where there is nothing to tell."""
        from include.steps.announce import announce
        from stellwerk.notifiers.transport import transports

        if self.event in MAILS:
            run = _for_users(run)
        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        done = announce(run, self.event, ledger_if_any(self, run), send)
        if done is None:
            raise AirflowSkipException(f"nothing to tell of {self.event}: see the log")
        return str(done)


class TellRollback(StellwerkOperator):
    """Send one of the rollback's messages, and go on trying until long after its deadline.

    Between two tries the task is up for retry: it holds no worker, and nothing waits for it.

    :param duty: which message, see :mod:`include.messages.rollback`
    :param early: only where the watch has switched back already: who is to be told at once waits for no step
    """

    needs_digest = False
    despite_faults = True

    def __init__(self, *, duty: Duty, early: bool = False, **kwargs: Any) -> None:
        # With a wait of 15 s at most these are more tries than GIVE_UP_AFTER leaves time for.
        patience: dict[str, Any] = {"retries": 1500, "retry_delay": FIRST_WAIT, "max_retry_delay": LONGEST_WAIT}
        patience |= {"retry_exponential_backoff": 2, "retry_policy": AfterDoubt(look_meanwhile=True)}
        super().__init__(**{**patience, **kwargs})
        self.duty = duty
        self.early = early
        self._asked_at: datetime | None = None

    def execute(self, context: Context) -> Any:
        """Remember when the rollback was asked for, then send."""
        self._asked_at = context["dag_run"].run_after
        return super().execute(context)

    def act(self, run: ReleaseRun) -> str:
        """See :func:`include.steps.rollback_messages.tell`."""
        from include.steps.rollback_messages import tell
        from include.steps.rollback_story import Desk
        from stellwerk.notifiers.transport import transports

        assert self._asked_at is not None, "execute has set it"
        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        desk = Desk(run, ledger_if_any(self, run), self._service_if_any(run), send, self._asked_at)
        told = tell(desk, self.duty, early=self.early)
        self.log.info("%s", told)
        return told

    def _service_if_any(self, run: ReleaseRun) -> ServiceState | None:
        from include.steps.announce import traffic_service

        try:
            return self.with_cluster(run, traffic_service)
        except StellwerkError as error:
            self.log.warning("%s", error)
            return None


def ledger_if_any(task: StellwerkOperator, run: ReleaseRun) -> Ledger | None:
    """The ledger; None where it cannot be opened: what is urgent goes out without it."""
    try:
        return task.ledger(run)
    except LedgerError as error:
        task.log.warning("%s", error)
        return None


def _for_users(run: ReleaseRun) -> ReleaseRun:
    from include.plan.loader import load_plan, plan_folder
    from include.steps.mails import for_users

    return for_users(run, load_plan(plan_folder()))
