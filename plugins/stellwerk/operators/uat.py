"""Key users test a release, each with a form of their own; what they say becomes an entry of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk import Param
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun

SUBMIT: Final = "Submit"
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

    It waits as Airflow's own questions do: without worker or trigger.

    :param user: who is asked, and alone may answer
    """

    needs_digest = False

    def __init__(self, *, user: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user = user

    def execute(self, context: Context) -> Any:
        """Ask."""
        self._context = context
        return super().execute(context)

    def act(self, run: ReleaseRun) -> NoReturn:
        """Ask.

        :raises NotAccepted: the plan does not name this user
        """
        self._ask(run, self.ledger(run))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer or the silence; an answer without what makes it count is asked for again."""
        from include.steps.staging.acceptance import (
            acceptance_of,
            asked,
            blockers,
            record_silence,
            record_tested,
            told,
        )
        from include.steps.staging.uat import read
        from include.watch.steer import answer_of

        self._context = context
        with airflow_errors(self.log):
            run = release_run(context, with_digest=False)
            ledger, now = self.ledger(run), datetime.now(UTC)
            answer = answer_of(event, now=now)
            if answer is None or answer.user is None:
                record_silence(run, ledger, self.user, asked(run, ledger, self.user, now))
                self.note_ledger_head()
                self.log.warning("%s has not tested", self.user)
                return {"user": self.user, "tested": False}
            given = event.get("params_input")
            form = given if isinstance(given, dict) else {}
            tested = read(self.user, form, acceptance_of(run).cases)
            if answer.user != self.user:
                tested = f"{answer.user} has answered, and {self.user} was asked"
            if isinstance(tested, str):
                self.log.warning("asked again: %s", tested)
                self._ask(run, ledger, tested, form)
            facts = record_tested(run, ledger, tested, answer.at).payload
            self.note_ledger_head()
            self._call(run, ledger, blockers(run, tested))
            self.log.info("%s", told(facts))
        return {"user": self.user, "tested": True, "findings": len(facts["findings"])}

    def _call(self, run: ReleaseRun, ledger: Ledger, matter: Matter | None) -> None:
        from include.steps.page import page
        from stellwerk.notifiers.transport import transports

        if matter is not None:
            connections = run.environment.connections
            page(run, ledger, matter, transports(connections.slack, connections.smtp))

    def _ask(
        self, run: ReleaseRun, ledger: Ledger, problem: str = "", filled: Mapping[str, Any] | None = None
    ) -> NoReturn:
        from include.steps.staging.acceptance import asked, must_be_key_user, question

        must_be_key_user(run, self.user)
        now = datetime.now(UTC)
        deadline = asked(run, ledger, self.user, now)
        shown = question(run, self.user, deadline, problem)
        upsert_hitl_detail(
            self._context["ti"].id,
            [SUBMIT],
            shown.subject,
            shown.body,
            params=_form(run, filled or {}),
            assigned_users=[HITLUser(id=self.user, name=self.user)],
        )
        raise TaskAwaitingInput(method_name="execute_complete", timeout=max(_SHORTEST, deadline - now))


class ConcludeUat(StellwerkOperator):
    """Judge what all key users have said: blocking findings, and tests that are missing, stop the release."""

    needs_digest = False

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.staging.acceptance.conclude`."""
        from include.steps.staging.acceptance import conclude

        return conclude(run, self.ledger(run))


def _form(run: ReleaseRun, filled: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome and a note for each case, and a finding beside them.

    :param filled: what was filled in before, as the API took it
    """
    from include.plan.staging import SEVERITIES
    from include.steps.staging import uat
    from include.steps.staging.acceptance import acceptance_of
    from include.watch.steer import comment_of

    fields: dict[str, Param] = {}
    for case in acceptance_of(run).cases:
        fields[uat.field_of(case)] = Param(
            uat.NOT_TESTED, type="string", enum=list(uat.OUTCOMES), title=case.title, description=case.expected
        )
        fields[uat.note_of(case)] = Param(
            "", type="string", maxLength=uat.LONGEST, title=f"{case.title}: what was wrong?"
        )
    fields[uat.OTHER] = Param("", type="string", maxLength=uat.LONGEST, title="Anything else that is wrong?")
    fields[uat.OTHER_SEVERITY] = Param(
        uat.NONE, type="string", enum=[uat.NONE, *SEVERITIES], title="How severe is that?"
    )
    for name, field in fields.items():
        value = comment_of(filled.get(name))
        if value and value in field.schema.get("enum", (value,)):
            field.value = value
    return {name: field.serialize() for name, field in fields.items()}
