"""The way back of a migration as tasks: stated, offered to a human, gone after a yes and never without one."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from stellwerk.operators.base import airflow_errors
from stellwerk.operators.database import DatabaseOperator
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow.sdk import Context

    from include.errors import AnswerIncomplete, DatabaseError
    from include.ledger.store import Ledger
    from include.steps.database.site import Site
    from include.steps.run import ReleaseRun

TAKE: Final = "Take back"
KEEP: Final = "Keep"


class StateWayBack(DatabaseOperator):
    """Look where the run's migration has left the database, and say what going back would lose.

    A run that has not begun to migrate offers nothing: what an earlier one did well is not taken back because this
    one has failed to look.
    """

    def execute(self, context: Context) -> Any:
        """State it; where the database gives no answer to the last try either, say what is known without it.

        The task is skipped then: what has failed is the migration, and this has found out nothing about it. People
        are called, because a skipped task must not look as if there were nothing to take back.
        """
        from include.errors import DatabaseError

        try:
            return super().execute(context)
        except AirflowException as error:
            why = error.__cause__
            if not isinstance(why, DatabaseError):
                raise
            if why.retryable and context["ti"].try_number <= context["ti"].max_tries:
                raise
        with airflow_errors(self.log):
            raise AirflowSkipException(self._unknown(release_run(context, with_digest=False), why))

    def _unknown(self, run: ReleaseRun, why: DatabaseError) -> str:
        from include.steps.database.way_back import way_back_unknown
        from include.steps.page import Matter, page
        from stellwerk.notifiers.transport import transports

        ledger = self.ledger(run)
        told = way_back_unknown(run, ledger, why)
        self.note_ledger_head()
        connections = run.environment.connections
        matter = Matter("way-back-unknown", told["what"], told["seen"], told["remedy"])
        page(run, ledger, matter, transports(connections.slack, connections.smtp))
        return f"{told['what']}; {told['seen']}; do: {told['remedy']}"

    def act(self, run: ReleaseRun) -> Any:
        """Skip, before anything is opened, where this run has not begun to migrate."""
        from include.steps.record import recorded
        from include.steps.schema_proof import MIGRATION_INTENDED

        if recorded(self.ledger(run), run, MIGRATION_INTENDED) is None:
            raise AirflowSkipException("this run has not begun to migrate")
        return super().act(run)

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.way_back.state_way_back`; skip where there is nothing to take back."""
        from include.steps.database.apply import gave_up
        from include.steps.database.way_back import state_way_back

        gave_up(run, site, ledger)
        stated = state_way_back(run, site, ledger, traffic=partial(self.traffic, run))
        if not stated["needed"]:
            raise AirflowSkipException(stated["text"])
        return stated


class AskLoss(HITLOperator):
    """Ask one of those who may whether something is lost, and record what they take the responsibility for.

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
        self.assigned_users = [{"id": user, "name": user} for user in people]
        self.response_timeout = self.answer_within(run, stated)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record a confirmation of what was shown; anything else loses nothing."""
        from include.errors import AnswerIncomplete
        from include.watch.steer import comment_of

        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            if "error" in event:
                self.kept(run, f"no answer: {event['error']}", said_no=False)
            # Whoever answers past the form may leave its fields out, or write anything into them.
            filled = {name: comment_of(value) for name, value in (event["params_input"] or {}).items()}
            form = {**dict.fromkeys(self._form(), ""), **filled}
            answer = super().execute_complete(context, {**event, "params_input": form})
            user = answer["responded_by_user"]
            if answer["chosen_options"] != [self.yes]:
                self.kept(run, f"{user['id'] if user else 'nobody'} said {self.no}", said_no=True)
            said = {
                "digest": form["statement"],
                "by": user["id"] if user else "",
                "reason": form["reason"],
            }
            try:
                return self._confirmed(run, said, answer["responded_at"])
            except AnswerIncomplete as error:
                self._refuse(context, run, said, error, answer["responded_at"])
        return self.execute(context)

    def _confirmed(self, run: ReleaseRun, said: dict[str, str], at: datetime) -> dict[str, str]:
        from include.steps.database.confirm import confirm
        from stellwerk.hooks.ledger import open_ledger

        if said["digest"]:
            self._stated(run, digest=said["digest"])
        confirm(open_ledger(run.environment.connections.ledger), run, said, at=at)
        return said

    def _refuse(
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


class AskTakeBack(AskLoss):
    """Ask whether the schema is taken back; silence keeps it."""

    question = "Take the schema back?"
    yes, no = TAKE, KEEP

    @property
    def statement(self) -> str:
        """What going back would lose."""
        from include.steps.database.entries import WAY_BACK_STATED

        return WAY_BACK_STATED

    def subject_of(self, run: ReleaseRun) -> str:
        """Which schema."""
        release = run.release
        return f"{release.version} to {run.environment.name}: take the schema back to that of {release.previous}?"

    def text_of(self, stated: Mapping[str, Any]) -> str:
        """The statement."""
        return str(stated["text"])

    def kept(self, run: ReleaseRun, why: str, *, said_no: bool) -> NoReturn:
        """Skip what follows."""
        raise AirflowSkipException(f"the schema is kept: {why}")


class TakeBack(DatabaseOperator):
    """Go down to the recorded revision set, after a human has confirmed what that loses."""

    def step(self, run: ReleaseRun, site: Site, ledger: Ledger) -> Any:
        """See :func:`include.steps.database.way_back.take_back`."""
        from include.steps.database.way_back import take_back

        traffic = partial(self.traffic, run)
        return take_back(run, site, ledger, started=self._ends_with_us, traffic=traffic)
