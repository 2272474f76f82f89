"""The plan's mails as a task that looks what is due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from stellwerk.operators.base import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context


class SendDueMails(BaseOperator):
    """Send the mails of all releases whose time has come; the next run tries what could not be sent.

    People are called, once a day, for one that is due and not out for an hour.
    """

    def execute(self, context: Context) -> list[str]:
        """See :func:`include.steps.due_mails.send_due`.

        :raises AirflowException: a mail is due and is not out
        """
        from include.plan.loader import load_plan, plan_folder
        from include.steps.due_mails import send_due
        from include.steps.mails import LIVE_IN
        from include.steps.page import page
        from stellwerk.hooks.ledger import open_ledger
        from stellwerk.notifiers.transport import transports

        with airflow_errors(self.log):
            plan = load_plan(plan_folder())
            connections = plan.environment(LIVE_IN).connections
            ledger, send = open_ledger(connections.ledger), transports(connections.slack, connections.smtp)
            told = send_due(plan, ledger, send, context["dag_run"].run_id, datetime.now(UTC))
        for sentence in told.done:
            self.log.info("%s", sentence)
        for news in told.calls:
            page(news.run, ledger, news.matter, send)
        if told.failed:
            raise AirflowException("; ".join(told.failed))
        return list(told.done)
