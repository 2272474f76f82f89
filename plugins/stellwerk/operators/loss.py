"""Asking a human about a loss: what is shown, who may answer, and what an answer binds."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from stellwerk.operators import loss_calls
from stellwerk.operators.base import airflow_errors
from stellwerk.operators.question import Form, GateQuestion, beside
from stellwerk.people import answerer
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Context

    from include.database.confirmation import LossConfirmation
    from include.errors import AnswerIncomplete, LedgerUnavailable
    from include.gate.asked import Asked
    from include.gate.timing import Wait
    from include.ledger.store import Ledger
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun


def places(run: ReleaseRun, ledger: Ledger, states: str, asks: str) -> list[dict[str, str]]:
    """Where a question about a loss is asked: at a place of its own, each time that the loss is stated.

    Airflow keeps the words of a place's first question (see :mod:`include.gate.asked`).

    :param states: id of the task that states it
    :param asks: the task that asks, in the same group
    """
    from include.gate.asked import ASKED, to_ask
    from include.steps.database.confirm import ASKED_OF
    from include.steps.record import all_recorded

    return to_ask(all_recorded(ledger, run, ASKED), beside(states, asks), (ASKED_OF,))


class AskLoss(GateQuestion):
    """Ask one of those who may whether something is lost, and record what they take the responsibility for.

    The last answer counts: a no, and silence, take back what was confirmed before.

    The form carries the digest of the statement that is shown, so that an answer is about that one, whatever was
    stated meanwhile; another statement is asked about at another place. Silence loses nothing. A yes without a
    reason confirms nothing: the question comes back.
    """

    asks_anew = "clear the task that states the loss, with what comes after it: it asks anew"
    #: users may be down, or on a schema that does not do: people are to learn soon that nobody can go on
    unheard_after: ClassVar[timedelta] = timedelta(minutes=2)
    #: the answers
    yes: ClassVar[str]
    no: ClassVar[str]

    @property
    @abstractmethod
    def statement(self) -> str:
        """The ledger's kind of what is shown."""

    @abstractmethod
    def subject_of(self, run: ReleaseRun) -> str:
        """The question for this run."""

    @abstractmethod
    def text_of(self, stated: Mapping[str, Any]) -> str:
        """What is lost, in Markdown."""

    def answer_within(self, run: ReleaseRun, stated: Mapping[str, Any]) -> timedelta:
        """How long an answer is waited for."""
        return timedelta(seconds=run.environment.gate.timeout_seconds)

    def said_yes(
        self, run: ReleaseRun, ledger: Ledger, digest: str, asked: Asked | None
    ) -> LossConfirmation | None:
        """A yes for which nobody is asked: of a try that was stopped after it had recorded it.

        :param asked: what was asked here before
        """
        from include.steps.database.confirm import confirmation

        return confirmation(ledger, run, digest, since=asked.sequence) if asked else None

    @abstractmethod
    def matter_of(self, run: ReleaseRun, ledger: Ledger, stated: Mapping[str, Any]) -> Matter | None:
        """What people are called to the question for; None where it can wait to be found."""

    @abstractmethod
    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """End the task without a loss."""

    def execute(self, context: Context) -> Any:
        """Ask; what is shown is what the ledger says, and what a confirmation is bound to."""
        if self.over:
            self._is_over(context)
        with self._told_of(context):
            return self._ask_about(context)

    def execute_complete(
        self, context: Context, event: dict[str, Any], since: str = "", *, quiet: str = ""
    ) -> Any:
        """Go on where the question was left; people hear of what ends it otherwise than an answer does."""
        with self._told_of(context):
            return super().execute_complete(context, event, since, quiet=quiet)

    def _ask_about(self, context: Context) -> Any:
        from stellwerk.hooks.ledger import open_ledger

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            ledger = open_ledger(run.environment.connections.ledger)
            stated, before = self._stated(run, ledger), self._asked_before(context, run, ledger)
            if given := self.said_yes(run, ledger, str(stated["digest"]), before):
                self.log.info("%s has confirmed it: %s", given.by, given.reason)
                return given.model_dump()
            self._prepare(context, run, ledger, self._form(run, stated), self._wait_for(run, stated, before))
            matter = loss_calls.waits(self, context, stated, before, self.matter_of(run, ledger, stated))
        if matter is not None:  # nobody is called to a question that is not asked
            loss_calls.call(run, ledger, matter)
        return HITLOperator.execute(self, context)

    def held(self, context: Context, error: LedgerUnavailable, began: datetime) -> datetime:
        """Call people once the ledger has been out for :attr:`unheard_after`, until somebody could be called."""
        due, end, now = began + self.unheard_after, began + self.ledger_patience, datetime.now(UTC)
        if now <= due:
            return due
        return end if loss_calls.unheard(self, context, error, end) else now + loss_calls.AGAIN

    @contextmanager
    def _told_of(self, context: Context) -> Iterator[None]:
        """Call people when the last try fails: nobody is asked, and somebody has to know."""
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if isinstance(error, AirflowFailException) or context["ti"].try_number > context["ti"].max_tries:
                loss_calls.failed(self, context, error, self.asks_anew)
            raise

    def heard(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Record a confirmation of what was shown; anything else loses nothing."""
        from include.errors import AnswerIncomplete
        from include.watch.steer import comment_of
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context, with_digest=False)
        ledger = open_ledger(run.environment.connections.ledger)
        wait = self._asked(context, run, ledger).wait
        if "error" in event:
            self._woken(run, ledger, wait)
            why = f"no answer: {event['error']}"
            self._refused(run, ledger, {"why": why}, datetime.now(UTC))
            self.kept(run, why, said_no=False)
        # Whoever answers past the form may leave its fields out, or write anything into them.
        form = {name: comment_of(value) for name, value in (event["params_input"] or {}).items()}
        said = {
            "digest": form.get("statement", ""),
            "by": answerer(run.environment, event["responded_by_user"]) or "",
        }
        at = event["responded_at"] or datetime.now(UTC)
        if event["chosen_options"] != [self.yes]:
            why = f"{said['by'] or 'nobody'} said {self.no}"
            self._refused(run, ledger, {**said, "why": why}, at)
            self.kept(run, why, said_no=True)
        said["reason"] = form.get("reason", "")
        try:
            return self._confirmed(run, ledger, said, at)
        except AnswerIncomplete as error:
            self._incomplete(run, ledger, said, error, at)
            self._again(context, wait, str(error))

    def _wait_for(self, run: ReleaseRun, stated: Mapping[str, Any], before: Asked | None) -> Wait:
        """How long the question waits; one that was asked here before its deadline waits no longer."""
        from include.gate.timing import wait as waiting

        now = datetime.now(UTC)
        if before and before.fingerprint == stated["digest"] and not before.wait.is_over(now):
            return before.wait
        return waiting(now, self.answer_within(run, stated).total_seconds(), reminder_seconds=0)

    def _confirmed(self, run: ReleaseRun, ledger: Ledger, said: dict[str, str], at: datetime) -> dict[str, str]:
        from include.steps.database.confirm import confirm

        if said["digest"]:
            self._stated(run, ledger, digest=said["digest"])
        confirm(ledger, run, said, at=at)
        return said

    def _refused(self, run: ReleaseRun, ledger: Ledger, no: Mapping[str, str], at: datetime) -> None:
        """Record it: an earlier yes counts no more."""
        from include.steps.database.confirm import refuse

        refuse(ledger, run, no, at=at)

    def _incomplete(
        self, run: ReleaseRun, ledger: Ledger, said: Mapping[str, str], error: AnswerIncomplete, at: datetime
    ) -> None:
        """Record why the question comes back; that it is not recorded keeps nobody from being asked."""
        from include.errors import LedgerError
        from include.steps.database.confirm import record_incomplete

        try:
            record_incomplete(ledger, run, said, error, at=at)
        except LedgerError as unrecorded:
            self.log.warning("the answer is not recorded: %s", unrecorded)

    def _form(self, run: ReleaseRun, stated: Mapping[str, Any]) -> Form:
        """The question, with a reason and the statement to be filled in beside the answer."""
        from include.steps.database.confirm import may_confirm
        from include.steps.gate import Question

        digest = str(stated["digest"])
        statement = Param(digest, type="string", title="Statement", description="What is confirmed")
        statement.schema["enum"] = [digest]
        needed = f"Why; {self.yes} needs it. Kept in the ledger"
        reason = Param("", type="string", title="Reason", description=needed)
        comes_back = f"*{self.yes}* needs a reason; without one the question comes back."
        body = f"{self.text_of(stated)}\n\n{comes_back}\n\nstatement `{digest[:16]}`"
        return Form(
            question=Question(self.subject_of(run), body),
            options=[self.yes, self.no],
            fields={"reason": reason, "statement": statement},
            people=may_confirm(run),
            about=digest,
        )

    def _stated(self, run: ReleaseRun, ledger: Ledger, **wanted: object) -> Mapping[str, Any]:
        from include.errors import ApprovalMissing
        from include.steps.database.entries import newest

        found = newest(ledger, run, self.statement, **wanted)
        if found is None:
            raise ApprovalMissing(
                "nobody was shown what going back would lose",
                expected=f"a ledger entry {self.statement} of this run",
                seen=str(wanted.get("digest") or "none"),
                remedy="clear the task that states it",
            )
        return found.payload
