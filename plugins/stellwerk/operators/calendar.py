"""The calendar's two tasks: look what is due, start it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
    AirflowSkipException,
)

from stellwerk.operators.base import airflow_errors
from stellwerk.operators.phase import run_states
from stellwerk.runs import start_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.exceptions import DagRunTriggerException

    from include.plan.calendar import Decision
    from include.plan.loader import Plan
    from include.steps.calendar_news import News

log = logging.getLogger(__name__)

_NOT_FOUND = 404
_MINUTES = 5


class LookAtCalendar(BaseOperator):
    """Say what is due when, and return what is to be started now: one mapping for each :class:`StartPhase`."""

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Read the plan's files as they are now, and decide.

        :raises AirflowException: nothing can be started because nobody knows what has been
        """
        from include.plan.calendar import Say
        from include.steps.calendar import told

        with airflow_errors(self.log):
            plan, decisions = _look(context)
        worries = (Say.MISSED, Say.REFUSED, Say.UNKNOWN, Say.BLOCKED, Say.FAILED)
        for problem in told(plan, decisions):
            serious = problem.startswith(("BROKEN", *(say.value for say in worries)))
            (self.log.warning if serious else self.log.info)("%s", problem)
        self._tell(plan, decisions)
        due = [one.entry.key for one in decisions if one.say is Say.START]
        if not due and any(one.say is Say.UNKNOWN for one in decisions):
            raise AirflowException("what has been started is not known, so nothing is: the log says why")
        return [{"release": key.release, "phase": key.phase} for key in due]

    def _tell(self, plan: Plan, decisions: Sequence[Decision]) -> None:
        """Call people for the bad news: once for each, at the most every few minutes where nobody takes it."""
        from include.steps.calendar_news import bad_news

        now = datetime.now(UTC)
        if now.minute % _MINUTES == 0:
            for news in bad_news(plan, decisions, now):
                _call_people(news, now)


class StartPhase(BaseOperator):
    """Start one phase of one release, if it still is to be started: this task may come late.

    :param release: version
    :param phase: and id of its DAG
    """

    def __init__(self, *, release: str, phase: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release = release
        self.phase = phase

    def execute(self, context: Context) -> None:
        """Look again, then hand over to Airflow; a run of that id that exists is left as it is.

        :raises AirflowSkipException: it is not to be started any more
        :raises AirflowFailException: its DAG could not run it; people are called
        """
        from include.plan.calendar import PhaseKey, Say
        from include.steps.calendar import line

        with airflow_errors(self.log):
            plan, decisions = _look(context)
        found = next((one for one in decisions if one.entry.key == PhaseKey(self.release, self.phase)), None)  # type: ignore[arg-type]
        if found is None or found.say is not Say.START:
            raise AirflowSkipException(
                line(plan, found) if found else f"{self.release} is not in the plan any more"
            )
        self.log.info("%s", line(plan, found))
        self._refuse_dead_ends(context, plan, found)
        raise _start(found)

    def _refuse_dead_ends(self, context: Context, plan: Plan, found: Decision) -> None:
        try:
            paused = context["ti"].get_dag(self.phase).is_paused
        except AirflowRuntimeError as error:
            if (error.error.detail or {}).get("status_code") != _NOT_FOUND:
                raise
            remedy = "take its steps by hand, then say so with the DAG phase-by-hand"
            raise self._cannot("there is no DAG of that name", remedy, plan, found) from error
        if paused:
            # A run of a paused DAG would wait, and begin whenever somebody unpauses it.
            raise self._cannot("its DAG is paused", "unpause it", plan, found)

    def _cannot(self, seen: str, remedy: str, plan: Plan, found: Decision) -> AirflowFailException:
        """Call people, once a day, and return what fails the task."""
        from include.steps.calendar_news import dead_end

        now, until = datetime.now(UTC), found.entry.until.astimezone(plan.releases[self.release].zone)
        news = dead_end(plan, found, seen, remedy, now)
        if news and now.minute % _MINUTES == 0:
            _call_people(news, now)
        return AirflowFailException(
            f"{self.phase} of {self.release} is due and cannot be started; seen: {seen}; do: {remedy}; it is "
            f"tried every minute until {until:%Y-%m-%d %H:%M %Z}"
        )


def _call_people(news: News, now: datetime) -> None:
    from include.errors import LedgerError
    from include.steps.page import page
    from stellwerk.hooks.ledger import open_ledger
    from stellwerk.notifiers.transport import transports

    connections, ledger = news.run.environment.connections, None
    try:
        ledger = open_ledger(connections.ledger)
        ledger.head()
    except LedgerError as error:
        log.warning("%s", error)
        ledger = None
        if now.minute:
            return  # without a record, people are called every hour and not every few minutes
    page(news.run, ledger, news.matter, transports(connections.slack, connections.smtp))


def _look(context: Context) -> tuple[Plan, tuple[Decision, ...]]:
    from include.plan.loader import load_plan, plan_folder
    from include.steps.calendar import look
    from stellwerk.hooks.ledger import open_ledger

    plan = load_plan(plan_folder())
    return plan, look(plan, open_ledger, run_states(context["ti"]), datetime.now(UTC))


def _start(found: Decision) -> DagRunTriggerException:
    from include.plan.calendar import run_id

    key = found.entry.key
    note = f"started by release-calendar, due {found.entry.at:%Y-%m-%d %H:%M} UTC"
    return start_once(key.phase, run_id(key), found.entry.conf, note=note)
