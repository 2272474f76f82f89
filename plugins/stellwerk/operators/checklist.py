"""A checklist as tasks: what machines settle, what people tick, whether all of it is settled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.errors import ApprovalMissing, ApprovalRefused
from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.operators.question import Form, GateQuestion, beside
from stellwerk.paging import call_people
from stellwerk.people import answerer
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from include.gate.timing import Wait
    from include.ledger.store import Ledger
    from include.steps.checklist import Lists
    from include.steps.run import ReleaseRun

DONE = "Done"
NOT_DONE = "Not done"


class ChecklistPoints(StellwerkOperator):
    """See how the points stand, and name the roles that have something to tick: once machines have settled theirs.

    :param names: of the lists
    :param asks: the task that asks, in the same group
    """

    needs_digest = False

    def __init__(self, *, names: Sequence[str], asks: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names
        self.asks = asks

    def act(self, run: ReleaseRun) -> list[dict[str, str]]:
        """Return what the task that asks is expanded over.

        :raises ApprovalMissing: machines leave a point open: people are called, and asked when it is settled
        """
        from include.gate.asked import ASKED, to_ask
        from include.steps.checklist import must_be_passable, nobody_is_asked, roles_of, standing_of
        from include.steps.record import all_recorded

        ledger = self.ledger(run)
        lists = standing_of(run, ledger, self.names)
        for name, found in lists.items():
            for point in found:
                self.log.info("%s: %s", name, point.line)
        try:
            must_be_passable(run, ledger, lists, self.task_id)
        except ApprovalMissing as error:
            call_people(self, run, [nobody_is_asked(error)])
            raise
        task = beside(self.task_id, self.asks)
        return to_ask(all_recorded(ledger, run, ASKED), task, roles_of(lists))


class TickPoints(GateQuestion):
    """Ask the people of one role for the points that are theirs.

    :param names: of the lists
    :param patience: seconds until silence ends the gate
    """

    def __init__(self, *, names: Sequence[str], patience: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names
        self.patience = patience

    def execute(self, context: Context) -> Any:
        """Ask."""
        from include.gate.form import Frame
        from include.gate.timing import wait as waiting
        from include.steps.checklist import checklist_question, open_for

        if self.over:
            self._is_over(context)
        with airflow_errors(self.log):
            run, ledger, lists = self._lists(context)
            people = run.environment.roles.get(self.role, ())
            if not people or not open_for(lists, self.role):
                return {"role": self.role, "points": []}
            now = datetime.now(UTC)
            before = self._asked_before(context, run, ledger)
            going = before is not None and not before.wait.is_over(now)
            wait = before.wait if before and going else waiting(now, self.patience)
            asked = checklist_question(run, self.role, lists, Frame(wait.deadline, run.release.timezone))
            fields = _fields(open_for(lists, self.role))
            form = Form(asked, [DONE, NOT_DONE], fields, people, about=run.fingerprint, parts=run.parts)
            return self._ask(context, run, ledger, form, wait)

    def heard(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Record what was ticked; what is left is asked again, silence and "not done" end the gate."""
        from include.gate.answers import read
        from include.steps.checklist import open_for, record_ticks

        run, ledger, lists = self._lists(context)
        wait, own = self._asked(context, run, ledger).wait, open_for(lists, self.role)
        if "error" in event:
            self._woken(run, ledger, wait)
            raise self._unsettled(own, f"no answer of {self.role}")
        user = answerer(run.environment, event["responded_by_user"])
        at = event["responded_at"] or datetime.now(UTC)
        given = read(event, user, at, own)
        if user is None or user not in run.environment.roles.get(self.role, ()):
            self._again(context, wait, f"{user or 'nobody'} is not of {self.role}")
        if given.choice != DONE:
            raise self._unsettled(own, f"{user}: {given.choice}: {given.comment}")
        if not given.comment:
            self._again(context, wait, "say in the comment how you know")
        record_ticks(ledger, run, lists, self.role, given.ticked, user, given.comment, at)
        if left := [text for text in own if text not in given.ticked]:
            self._again(context, wait, f"not ticked yet: {'; '.join(left)}")
        return {"role": self.role, "user": user, "points": list(given.ticked)}

    def reminded(self, run: ReleaseRun, ledger: Ledger, wait: Wait, now: datetime) -> None:
        """See :func:`include.steps.gate_reminder.remind_of_points`."""
        from include.steps.checklist import open_for, standing_of
        from include.steps.gate_reminder import remind_of_points
        from stellwerk.notifiers.transport import transports

        connections = run.environment.connections
        send = transports(connections.slack, connections.smtp)
        own = open_for(standing_of(run, ledger, self.names), self.role)
        remind_of_points(run, ledger, self.role, own, wait, send, now)

    def _lists(self, context: Context) -> tuple[ReleaseRun, Ledger, Lists]:
        from include.steps.checklist import standing_of
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context, with_digest=False)
        ledger = open_ledger(run.environment.connections.ledger)
        return run, ledger, standing_of(run, ledger, self.names)

    def _unsettled(self, points: Sequence[str], seen: str) -> ApprovalRefused:
        return ApprovalRefused(
            f"{', '.join(self.names)}: points of {self.role} are not settled",
            expected="; ".join(points),
            seen=seen,
            remedy="settle them, then clear the first task of this gate, with what comes after it",
        )


class ChecklistSettled(StellwerkOperator):
    """Conclude the checklist: the ledger holds what settles each point.

    :param names: of the lists
    """

    needs_digest = False

    def __init__(self, *, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """See :func:`include.steps.checklist.conclude`."""
        from include.steps.checklist import conclude

        return conclude(run, self.ledger(run), self.names)


def _fields(points: Sequence[str]) -> dict[str, Param]:
    from include.gate.answers import COMMENT, box

    fields = {box(text): Param(False, type="boolean", title=text) for text in points}
    needed = f"How you know; {DONE} needs it. Kept in the ledger"
    return {**fields, COMMENT: Param("", type="string", title="Comment", description=needed)}
