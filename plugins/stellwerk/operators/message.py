"""Telling people: a message of the release, said once, never in the way of the release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from include.errors import LedgerError, MessageError, StellwerkError
from stellwerk.operators.base import StellwerkOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.bluegreen.state import ServiceState
    from include.ledger.store import Ledger
    from include.steps.announce import Event
    from include.steps.run import ReleaseRun


class Announce(StellwerkOperator):
    """Send one of the plan's messages.

    A dead Slack or mail server is tried again a few times, then the task is skipped with the reason and the
    failure is in the ledger: what has happened to the traffic does not become undone because nobody could be told.

    :param event: what happened, see :mod:`include.steps.announce`
    """

    def __init__(self, *, event: Event, retries: int = 2, **kwargs: Any) -> None:
        super().__init__(retries=retries, **kwargs)
        self.event = event
        self.give_up_after = retries

    def execute(self, context: Context) -> Any:
        """Send, retry, give up honestly."""
        try:
            return super().execute(context)
        except AirflowException as error:
            ti = context["ti"]
            if isinstance(error.__cause__, MessageError) and ti.try_number > self.give_up_after:
                raise AirflowSkipException(f"not delivered after {ti.try_number} tries: {error}") from error
            raise

    def act(self, run: ReleaseRun) -> str:
        """Send the event's message and return its key."""
        from include.steps.announce import announce
        from stellwerk.notifiers.transport import transports

        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        return announce(run, self.event, self._ledger_if_any(run), self._service_if_any(run), send)

    def _ledger_if_any(self, run: ReleaseRun) -> Ledger | None:
        try:
            return self.ledger(run)
        except LedgerError as error:
            self.log.warning("%s", error)
            return None

    def _service_if_any(self, run: ReleaseRun) -> ServiceState | None:
        from include.steps.announce import ROLLBACK, traffic_service

        if self.event not in ROLLBACK:
            return None
        try:
            return self.with_cluster(run, lambda run, cluster: traffic_service(run, cluster))
        except StellwerkError as error:
            self.log.warning("%s", error)
            return None
