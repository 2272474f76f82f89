"""What one role decides at a gate: asked, recorded, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.errors import ApprovalMissing, ApprovalRefused, TrafficError
from stellwerk.operators.base import airflow_errors
from stellwerk.operators.gate import About, bound
from stellwerk.operators.question import Form, GateQuestion
from stellwerk.people import answerer
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from include.gate.answers import Given
    from include.gate.asked import Asked
    from include.gate.form import Frame
    from include.gate.timing import Wait
    from include.ledger.store import Ledger
    from include.steps.announce import Transports
    from include.steps.gate import Question
    from include.steps.gate_round import GateState
    from include.steps.run import ReleaseRun


class RoleDecision(GateQuestion):
    """Ask the people of one role for Go or No-Go, or for somebody who decides in their place.

    Who may answer is read from plan and ledger when the question is asked; the mapped ``role`` is checked against
    them, since an XCom can be overwritten. A Go is for the fingerprint that the form shows, whatever has changed
    while the question was open.

    :param evidence_from: id of the task whose result is shown
    :param about: what is decided about
    :param again: it is the last question before the gate is concluded
    """

    def __init__(
        self, *, evidence_from: str = "", about: About = "release", again: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.evidence_from = evidence_from
        self.about: About = about
        self.again = again

    def execute(self, context: Context) -> Any:
        """Ask."""
        from include.steps.gate_round import frame_of, must_be_settled, wait_for

        if self.over:
            self._is_over(context)
        with airflow_errors(self.log):
            run, ledger, state = self._gate(context)
            self._must_be(self.role in run.environment.gate.roles, ", ".join(run.environment.gate.roles))
            must_be_settled(state)
            wait = wait_for(state, self.task_id, max(context["ti"].map_index or 0, 0), datetime.now(UTC))
            asked = self._question(context, run, ledger, frame_of(state, self.role, wait))
            return self._ask(context, run, ledger, _form(state, self.role, asked), wait)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer; a No-Go and silence fail the gate."""
        from include.gate.answers import AskAgain, Decided, Delegates, meaning, read
        from include.steps.gate import record_refused
        from include.steps.gate_reminder import tell_delegate
        from include.steps.gate_round import own_points, record_delegation, rules_of

        with airflow_errors(self.log):
            try:
                run, ledger, state = self._gate(context)
            except (ApprovalMissing, TrafficError):
                self._keep(context, event)
                raise
            asked = self._asked(context, run, ledger)
            self._must_be(self.role == asked.role and self.role in run.environment.gate.roles, asked.role)
            if "error" in event:
                self._woken(run, ledger, asked.wait)
                raise self._silence(run, ledger, str(event["error"]))
            user = answerer(run.environment, event["responded_by_user"])
            at = event["responded_at"] or datetime.now(UTC)
            given = read(event, user, at, own_points(state, self.role))
            self.log.info("%s: %s by %s: %s", self.role, given.choice, user, given.comment or "(no comment)")
            meant = meaning(given, rules_of(state, self.role, asked))
            if isinstance(meant, Decided):
                return self._decided(run, ledger, given, asked)
            if isinstance(meant, Delegates):
                record_delegation(ledger, run, self.role, given)
                tell_delegate(run, ledger, self.role, given, _transports(run))
                return self._delegated(given)
            why = meant.why if isinstance(meant, AskAgain) else "it came after the deadline"
            record_refused(ledger, run, role=self.role, user=user, choice=given.choice, why=why, at=at)
            if isinstance(meant, AskAgain):
                self._again(context, asked.wait, why)
            raise self._silence(run, ledger, f"{given.choice} of {user} came after the deadline")

    def reminded(self, run: ReleaseRun, ledger: Ledger, wait: Wait, now: datetime) -> None:
        """See :func:`include.steps.gate_reminder.remind`."""
        from include.steps.gate_reminder import remind
        from include.steps.gate_round import state_of

        remind(state_of(run, ledger), ledger, wait, _transports(run), now)

    def _gate(self, context: Context) -> tuple[ReleaseRun, Ledger, GateState]:
        from include.steps.gate_round import state_of
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context)
        ledger = open_ledger(run.environment.connections.ledger)
        run = bound(run, ledger, self.about)
        return run, ledger, state_of(run, ledger)

    def _keep(self, context: Context, event: Mapping[str, Any]) -> None:
        """Record what was answered about something that is not there any more: it stands for what was shown."""
        from include.gate.answers import read
        from include.ledger.approvals import GO, NO_GO
        from include.steps.gate import record_decision
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context)
        user = answerer(run.environment, event.get("responded_by_user"))
        if user is None:
            return
        ledger = open_ledger(run.environment.connections.ledger)
        given, shown = read(event, user, event["responded_at"], ()), self._asked(context, run, ledger).fingerprint
        if given.choice not in (GO, NO_GO):
            return
        record_decision(
            ledger,
            run,
            role=self.role,
            choice=GO if given.choice == GO else NO_GO,
            user=user,
            at=given.at,
            comment=given.comment,
            shown=shown,
        )

    def _must_be(self, known: object, expected: str) -> None:
        if not known:
            raise ApprovalMissing(
                f"role {self.role!r} is not one that this gate asks here",
                expected=expected,
                seen=self.role,
                remedy="clear the first task of this gate, with what comes after it",
            )

    def _question(self, context: Context, run: ReleaseRun, ledger: Ledger, frame: Frame) -> Question:
        from include.steps import gate
        from include.steps.database import gate as migration_gate
        from include.steps.sign_off import sign_off_question

        if self.about == "migration":
            return migration_gate.question(run, self.role, ledger, frame)
        if self.about == "sign-off":
            return sign_off_question(run, self.role, ledger, frame)
        return gate.question(run, self.role, _mapping(context["ti"].xcom_pull(task_ids=self.evidence_from)), frame)

    def _silence(self, run: ReleaseRun, ledger: Ledger, said: str) -> ApprovalRefused:
        from include.steps.gate import record_decision

        record_decision(ledger, run, role=self.role, choice=None, user=None, at=None, comment=said)
        return ApprovalRefused(
            f"no answer from {self.role}: No-Go",
            expected=f"an answer of {' or '.join(run.environment.gate.roles[self.role])} in time",
            seen=said,
            remedy="clear the first task of this gate to ask again, or leave the release for another day",
        )

    def _decided(self, run: ReleaseRun, ledger: Ledger, given: Given, asked: Asked) -> dict[str, Any]:
        from include.ledger.approvals import GO, NO_GO
        from include.steps.gate import must_be_as_shown, record_decision

        choice = GO if given.choice == GO else NO_GO
        record_decision(
            ledger,
            run,
            role=self.role,
            choice=choice,
            user=given.user,
            at=given.at,
            comment=given.comment,
            shown=asked.fingerprint,
            ticked=given.ticked if choice == GO else (),
        )
        if choice == NO_GO:
            raise ApprovalRefused(
                f"No-Go of {self.role}",
                expected=GO,
                seen=f"{choice} by {given.user}: {given.comment}",
                remedy="mend what they object to, then start a new run",
            )
        if self.again:
            must_be_as_shown(asked.fingerprint, run.fingerprint)
        elif asked.fingerprint != run.fingerprint:
            self.log.warning("what was shown has changed meanwhile: %s is asked again", self.role)
        return {"role": self.role, "choice": choice, "user": given.user}

    def _delegated(self, given: Given) -> dict[str, Any]:
        self.log.info("%s has named %s to speak for %s, too", given.user, given.to, self.role)
        if self.again:
            raise ApprovalMissing(
                f"{given.to} has not been asked yet",
                expected="a Go",
                seen=f"{given.user} has named {given.to} to speak for {self.role}",
                remedy="clear the first task of this gate, with what comes after it: it asks them",
            )
        return {"role": self.role, "choice": given.choice, "user": given.user, "to": given.to}


def _form(state: GateState, role: str, asked: Question) -> Form:
    """The question with its fields: why, what is shown, the role's points, who is to decide instead."""
    from include.gate.answers import COMMENT, DELEGATE, OPTIONS, SHOWN, TO, box
    from include.steps.gate_round import may_name, own_points

    shown = Param(
        state.run.fingerprint, type="string", title="Fingerprint", description="Of what is decided about"
    )
    shown.schema["enum"] = [state.run.fingerprint]
    fields = {COMMENT: Param("", type="string", title="Comment", description="Why; kept in the ledger")}
    for text in own_points(state, role):
        fields[box(text)] = Param(False, type="boolean", title=text, description="A Go needs it")
    names: Sequence[str] = may_name(state, role)
    if names:
        instead = f"Only for {DELEGATE}: who speaks for {role}, too, for this release"
        fields[TO] = Param("", type="string", title="Delegate to", description=instead, enum=["", *names])
    return Form(
        question=asked,
        options=[option for option in OPTIONS if names or option != DELEGATE],
        fields={**fields, SHOWN: shown},
        people=state.holders[role],
        about=state.run.fingerprint,
        parts=state.run.parts,
    )


def _transports(run: ReleaseRun) -> Transports:
    from stellwerk.notifiers.transport import transports

    connections = run.environment.connections
    return transports(connections.slack, connections.smtp)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What was handed on, unless somebody has put something else there: it informs and decides nothing."""
    return value if isinstance(value, dict) else {}
