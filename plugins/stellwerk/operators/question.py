"""A question of a gate as a task: recorded before it is asked, reminded of, and asked again where that helps.

It waits as Airflow's own questions do, without worker or trigger. Waking up for the reminder is part of the wait:
no task stands beside it (docs/adr/0014).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from stellwerk.operators.base import airflow_errors
from stellwerk.people import assigned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, Param

    from include.errors import LedgerUnavailable
    from include.gate.asked import Asked
    from include.gate.timing import Wait
    from include.ledger.store import Ledger
    from include.steps.gate import Question
    from include.steps.run import ReleaseRun

#: between two looks whether the ledger is back
PAUSE: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class Form:
    """What people see, and who they are.

    :param fields: to be filled in beside the answer
    :param people: as the plan names them
    :param about: digest of what an answer is about
    :param parts: what that digest covers, in words
    """

    question: Question
    options: Sequence[str]
    fields: Mapping[str, Param]
    people: Sequence[str]
    about: str
    parts: Mapping[str, str] = field(default_factory=dict)


class GateQuestion(HITLOperator):
    """A question that is asked of one role.

    :param role: the role that is asked
    :param over: not empty: it was asked here before, and another place has taken over
    """

    #: what gives a question with other words a place of its own
    asks_anew: ClassVar[str] = "clear the first task of this gate, with what comes after it: it asks anew"

    #: for how long an answer is held for a ledger that is out
    ledger_patience: ClassVar[timedelta] = timedelta(minutes=30)

    def __init__(self, *, role: str = "", over: str = "", **kwargs: Any) -> None:
        # A mapped operator is made again with every argument of the class it was mapped from.
        fixed = {"subject": "A question", "options": ["Yes", "No"], "params": {}}
        super().__init__(**{**kwargs, **fixed})
        self.role = role
        self.over = over

    @abstractmethod
    def heard(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Act on an answer, or on the end of a wait.

        :param event: with ``error`` when the wait has ended without an answer
        """

    def execute_complete(
        self, context: Context, event: dict[str, Any], since: str = "", *, quiet: str = ""
    ) -> Any:
        """Go on where the question was left; a ledger that is out is waited for.

        To fail instead would ask again, and asking takes the answer away.

        :param since: since when the ledger is out, as ISO text
        :param quiet: until when nobody is called because it is, as ISO text
        """
        from include.errors import LedgerUnavailable

        with airflow_errors(self.log):
            try:
                return self.heard(context, event)
            except LedgerUnavailable as error:
                now = datetime.now(UTC)
                began = datetime.fromisoformat(since) if since else now
                if now - began > self.ledger_patience:
                    raise
                self.log.warning("held until the ledger is back: %s", error)
                if not quiet or datetime.fromisoformat(quiet) <= now:
                    quiet = self.held(context, error, began).isoformat()
        sleep(PAUSE.total_seconds())
        # Airflow still holds the answer, if there was one, and resumes the task with it at once.
        again = {"since": began.isoformat(), "quiet": quiet}
        raise TaskAwaitingInput(method_name="execute_complete", kwargs=again, timeout=PAUSE)

    def reminded(self, run: ReleaseRun, ledger: Ledger, wait: Wait, now: datetime) -> None:
        """Remind people; only of a question whose wait says when."""

    def held(self, context: Context, error: LedgerUnavailable, began: datetime) -> datetime:
        """Call people, where that is due, because an answer is held for the ledger; here nobody is.

        :param began: since when it is out
        :return: until when it is not asked again whether that is due
        """
        return began + self.ledger_patience

    def _is_over(self, context: Context) -> NoReturn:
        """Close what was asked here and may still be open: nobody is to answer into the void."""
        from stellwerk.triggers.question import CloseQuestionTrigger

        why = "this question was asked anew, beside this one"
        trigger = CloseQuestionTrigger(ti_id=str(context["ti"].id), why=why)
        self.defer(trigger=trigger, method_name="closed")

    def closed(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """What was answered here counts as far as the ledger holds it."""
        self.log.info("asked anew at another place; closed: %s", event)
        return {"role": self.role, "over": True}

    def _ask(self, context: Context, run: ReleaseRun, ledger: Ledger, form: Form, wait: Wait) -> Any:
        """Record the question, then ask it.

        :raises ApprovalMissing: Airflow would show other words
        """
        self._prepare(context, run, ledger, form, wait)
        return HITLOperator.execute(self, context)

    def _prepare(self, context: Context, run: ReleaseRun, ledger: Ledger, form: Form, wait: Wait) -> None:
        """Record the question, so that it can be asked; see :meth:`_ask`."""
        from include.gate.asked import Asked, must_say_the_same, words

        fields = {name: field.serialize() for name, field in form.fields.items()}
        asked = Asked(
            phase=run.phase,
            task=self.task_id,
            place=place_of(context),
            role=self.role,
            words=words(form.question.subject, form.question.body, list(form.options), fields, list(form.people)),
            fingerprint=form.about,
            wait=wait,
            parts=form.parts,
        )
        before = self._asked_before(context, run, ledger)
        must_say_the_same(before, asked.words, self.asks_anew)
        if before != asked:
            entry = asked.entry(release=run.release.version, environment=run.environment.name, run_id=run.run_id)
            ledger.append(entry)
        self.subject, self.body = form.question.subject, form.question.body
        self.options = list(form.options)
        self.params = ParamsDict(dict(form.fields))
        self.assigned_users = assigned(run.environment, form.people)
        self.response_timeout = wait.next(datetime.now(UTC))
        self.log.info("asked of %s:\n%s\n%s", " or ".join(form.people), self.subject, self.body)

    def _asked(self, context: Context, run: ReleaseRun, ledger: Ledger) -> Asked:
        """What was asked here.

        :raises ApprovalMissing: nothing was
        """
        from include.errors import ApprovalMissing

        found = self._asked_before(context, run, ledger)
        if found is None:
            raise ApprovalMissing(
                "an answer to nothing that was asked",
                expected="a question in the ledger",
                seen="none",
                remedy=self.asks_anew,
            )
        return found

    def _asked_before(self, context: Context, run: ReleaseRun, ledger: Ledger) -> Asked | None:
        from include.gate.asked import ASKED, at_place

        entries = ledger.entries(
            release=run.release.version, environment=run.environment.name, run_id=run.run_id, kinds=(ASKED,)
        )
        return at_place(entries, self.task_id, place_of(context))

    def _woken(self, run: ReleaseRun, ledger: Ledger, wait: Wait) -> None:
        """Remind people and go on waiting; return when the wait is over."""
        now = datetime.now(UTC)
        if wait.is_over(now):
            return
        if wait.reminds(now):
            self.reminded(run, ledger, wait, now)
        self._wait(wait)

    def _again(self, context: Context, wait: Wait, why: str) -> NoReturn:
        """Ask again: the question keeps its words, so why it came back is told beside it."""
        self.log.warning("asked again: %s", why)
        context["ti"].xcom_push(key="asked_again", value=why)
        # The form is the one that was asked first; recording it anew takes the answer away.
        upsert_hitl_detail(context["ti"].id, ["again"], "again", params={})
        self._wait(wait)

    def _wait(self, wait: Wait) -> NoReturn:
        left = max(wait.next(datetime.now(UTC)), timedelta(0))
        raise TaskAwaitingInput(method_name="execute_complete", timeout=left)


def place_of(context: Context) -> int:
    """Where a task asks: its map index."""
    return max(int(getattr(context["ti"], "map_index", -1) or 0), 0)


def beside(task_id: str, name: str) -> str:
    """The id of another task in the group of a task."""
    group = task_id.rpartition(".")[0]
    return f"{group}.{name}" if group else name
