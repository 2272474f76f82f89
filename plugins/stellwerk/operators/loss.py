"""Asking a human about a loss: what is shown, who may answer, and what an answer binds."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from stellwerk.operators.base import airflow_errors
from stellwerk.people import answerer, assigned
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.errors import AnswerIncomplete
    from include.ledger.store import Ledger
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun


class AskLoss(HITLOperator):
    """Ask one of those who may whether something is lost, and record what they take the responsibility for.

    The last answer counts: a no, and silence, take back what was confirmed before.

    The form carries the digest of the statement that is shown, so that an answer is about that one, whatever was
    stated meanwhile. Silence loses nothing. A yes without a reason confirms nothing: the question comes back.
    """

    #: what is asked, and the answers
    question: ClassVar[str]
    yes: ClassVar[str]
    no: ClassVar[str]

    def __init__(self, **kwargs: Any) -> None:
        fixed = {"subject": self.question, "options": [self.yes, self.no], "params": self._form()}
        super().__init__(**{**kwargs, **fixed})

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

    @abstractmethod
    def matter_of(self, run: ReleaseRun, ledger: Ledger, stated: Mapping[str, Any]) -> Matter | None:
        """What people are called to the question for; None where it can wait to be found."""

    @abstractmethod
    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """End the task without a loss."""

    def execute(self, context: Context) -> Any:
        """Ask; what is shown is what the ledger says, and what a confirmation is bound to."""
        from include.steps.database.confirm import may_confirm

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            stated, people = self._stated(run), may_confirm(run)
        self.subject = self.subject_of(run)
        needed = f"*{self.yes}* needs a reason; without one the question comes back."
        self.body = f"{self.text_of(stated)}\n\n{needed}\n\nstatement `{stated['digest'][:16]}`"
        self.params = ParamsDict(self._form(stated["digest"]))
        self.assigned_users = assigned(run.environment, people)
        self.response_timeout = self.answer_within(run, stated)
        self._call(run, stated)  # nobody is called to a question that is not asked
        return super().execute(context)

    def _call(self, run: ReleaseRun, stated: Mapping[str, Any]) -> None:
        """Call people to the question: once for each statement."""
        from include.steps.page import page
        from stellwerk.hooks.ledger import open_ledger
        from stellwerk.notifiers.transport import transports

        connections = run.environment.connections
        with airflow_errors(self.log):
            ledger = open_ledger(connections.ledger)
            matter = self.matter_of(run, ledger, stated)
        if matter is not None:
            page(run, ledger, matter, transports(connections.slack, connections.smtp))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record a confirmation of what was shown; anything else loses nothing."""
        from include.errors import AnswerIncomplete
        from include.watch.steer import comment_of

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            if "error" in event:
                why = f"no answer: {event['error']}"
                self._refused(run, {"why": why}, datetime.now(UTC))
                self.kept(run, why, said_no=False)
            # Whoever answers past the form may leave its fields out, or write anything into them.
            filled = {name: comment_of(value) for name, value in (event["params_input"] or {}).items()}
            form = {**dict.fromkeys(self._form(), ""), **filled}
            answer = super().execute_complete(context, {**event, "params_input": form})
            user = answerer(run.environment, answer["responded_by_user"])
            if answer["chosen_options"] != [self.yes]:
                why = f"{user or 'nobody'} said {self.no}"
                no = {"digest": form["statement"], "by": user or "", "why": why}
                self._refused(run, no, answer["responded_at"])
                self.kept(run, why, said_no=True)
            said = {
                "digest": form["statement"],
                "by": user or "",
                "reason": form["reason"],
            }
            try:
                return self._confirmed(run, said, answer["responded_at"])
            except AnswerIncomplete as error:
                self._incomplete(context, run, said, error, answer["responded_at"])
        return self.execute(context)

    def _confirmed(self, run: ReleaseRun, said: dict[str, str], at: datetime) -> dict[str, str]:
        from include.steps.database.confirm import confirm
        from stellwerk.hooks.ledger import open_ledger

        if said["digest"]:
            self._stated(run, digest=said["digest"])
        confirm(open_ledger(run.environment.connections.ledger), run, said, at=at)
        return said

    def _refused(self, run: ReleaseRun, no: Mapping[str, str], at: datetime) -> None:
        """Record it: an earlier yes counts no more."""
        from include.steps.database.confirm import refuse
        from stellwerk.hooks.ledger import open_ledger

        refuse(open_ledger(run.environment.connections.ledger), run, no, at=at)

    def _incomplete(
        self,
        context: Context,
        run: ReleaseRun,
        said: Mapping[str, str],
        error: AnswerIncomplete,
        at: datetime,
    ) -> None:
        """Say why the question comes back; that it is not recorded keeps nobody from being asked."""
        from include.errors import LedgerError
        from include.steps.database.confirm import record_incomplete
        from stellwerk.hooks.ledger import open_ledger

        self.log.warning("asked again: %s", error)
        context["task_instance"].xcom_push(key="asked_again", value=str(error))
        try:
            record_incomplete(open_ledger(run.environment.connections.ledger), run, said, error, at=at)
        except LedgerError as unrecorded:
            self.log.warning("the answer is not recorded: %s", unrecorded)

    def _form(self, digest: str = "") -> dict[str, Param]:
        """What is filled in beside the answer.

        :param digest: of the statement that is shown; its field offers nothing else
        """
        statement = Param(digest, type="string", title="Statement", description="What is confirmed")
        if digest:
            statement.schema["enum"] = [digest]
        needed = f"Why; {self.yes} needs it. Kept in the ledger"
        return {"reason": Param("", type="string", title="Reason", description=needed), "statement": statement}

    def _stated(self, run: ReleaseRun, **wanted: object) -> Mapping[str, Any]:
        from include.errors import ApprovalMissing
        from include.steps.database.entries import newest
        from stellwerk.hooks.ledger import open_ledger

        found = newest(open_ledger(run.environment.connections.ledger), run, self.statement, **wanted)
        if found is None:
            raise ApprovalMissing(
                "nobody was shown what going back would lose",
                expected=f"a ledger entry {self.statement} of this run",
                seen=str(wanted.get("digest") or "none"),
                remedy="clear the task that states it",
            )
        return found.payload
