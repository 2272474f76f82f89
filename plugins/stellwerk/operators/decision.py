"""What one role decides at a gate: asked, recorded, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import ApprovalMissing, ApprovalRefused, TrafficError
from stellwerk.operators.base import airflow_errors
from stellwerk.operators.decision_form import decision_form
from stellwerk.operators.gate import About, bound, gated
from stellwerk.operators.question import GateQuestion
from stellwerk.people import answerer
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        """Ask, unless the answer is recorded: asking takes away what Airflow holds of it."""
        from include.steps.gate_frame import frame_of
        from include.steps.gate_round import answered, must_be_settled, wait_for

        if self.over:
            self._is_over(context)
        with airflow_errors(self.log):
            run, ledger, state = self._gate(context)
            self._must_be(self.role in run.environment.gate.roles, ", ".join(run.environment.gate.roles))
            if given := answered(state, self.role, self._asked_before(context, run, ledger)):
                self.log.info("%s: %s by %s is recorded already", self.role, given.choice, given.user)
                return self._follows(run, given)
            must_be_settled(state)
            wait = wait_for(state, self.task_id, max(context["ti"].map_index or 0, 0), datetime.now(UTC))
            asked = self._question(context, run, ledger, frame_of(state, self.role, wait))
            return self._ask(context, run, ledger, decision_form(state, self.role, asked), wait)

    def heard(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Record the answer; a No-Go and silence fail the gate."""
        from include.gate.answers import AskAgain, Decided, Delegates, meaning
        from include.steps.gate import record_refused
        from include.steps.gate_reminder import tell_delegate
        from include.steps.gate_round import record_delegation, rules_of

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
        given = self._given(state, event)
        user, choice = given.user, given.choice
        self.log.info("%s: %s by %s: %s", self.role, choice, user, given.comment or "(no comment)")
        meant = meaning(given, rules_of(state, self.role, asked))
        if isinstance(meant, Decided):
            self._recorded(run, ledger, given, asked)
            return self._follows(run, replace(given, shown=asked.fingerprint))
        if isinstance(meant, Delegates):
            record_delegation(ledger, run, self.role, given)
            tell_delegate(run, ledger, self.role, given, _transports(run))
            return self._follows(run, given)
        why = meant.why if isinstance(meant, AskAgain) else "it came after the deadline"
        record_refused(ledger, run, role=self.role, user=user, choice=choice, why=why, at=given.at)
        if isinstance(meant, AskAgain):
            self._again(context, asked.wait, why)
        raise self._silence(run, ledger, f"{choice} of {user} came after the deadline")

    def reminded(self, run: ReleaseRun, ledger: Ledger, wait: Wait, now: datetime) -> None:
        """See :func:`include.steps.gate_reminder.remind`."""
        from include.steps.gate_reminder import remind
        from include.steps.gate_round import state_of

        remind(state_of(run, ledger, now), ledger, wait, _transports(run), now)

    def _gate(self, context: Context) -> tuple[ReleaseRun, Ledger, GateState]:
        from include.steps.gate_round import state_of
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context)
        ledger = open_ledger(run.environment.connections.ledger)
        run = bound(run, ledger, self.about)
        return run, ledger, state_of(run, ledger, datetime.now(UTC))

    def _given(self, state: GateState, event: Mapping[str, Any]) -> Given:
        from include.gate.answers import read
        from include.steps.gate_round import own_points

        user = answerer(state.run.environment, event["responded_by_user"])
        return read(event, user, event["responded_at"] or datetime.now(UTC), own_points(state, self.role))

    def _keep(self, context: Context, event: Mapping[str, Any]) -> None:
        """Record what was decided about something that is not there any more: it stands for what was shown."""
        from include.gate.answers import Decided, meaning
        from include.steps.gate_round import rules_of, state_of
        from stellwerk.hooks.ledger import open_ledger

        run = gated(release_run(context), self.about)
        ledger = open_ledger(run.environment.connections.ledger)
        state, asked = state_of(run, ledger, datetime.now(UTC)), self._asked(context, run, ledger)
        if "error" in event or self.role != asked.role:
            return
        given = self._given(state, event)
        if isinstance(meaning(given, rules_of(state, self.role, asked)), Decided):
            self._recorded(run, ledger, given, asked)

    def _must_be(self, known: object, expected: str) -> None:
        if not known:
            raise ApprovalMissing(
                f"role {self.role!r} is not one that this gate asks here",
                expected=expected,
                seen=self.role,
                remedy=self.asks_anew,
            )

    def _question(self, context: Context, run: ReleaseRun, ledger: Ledger, frame: Frame) -> Question:
        from include.steps import gate
        from include.steps.database import gate as migration_gate
        from include.steps.sign_off import sign_off_question
        from include.steps.staging.subject import rehearsed

        if self.about == "migration":
            return migration_gate.question(run, self.role, ledger, frame)
        if self.about == "sign-off":
            return sign_off_question(run, self.role, ledger, frame)
        found = _mapping(context["ti"].xcom_pull(task_ids=self.evidence_from))
        return gate.question(run, self.role, found, frame, rehearsed(run, ledger))

    def _silence(self, run: ReleaseRun, ledger: Ledger, said: str) -> ApprovalRefused:
        from include.steps.gate import record_decision

        record_decision(ledger, run, role=self.role, choice=None, user=None, at=None, comment=said)
        return ApprovalRefused(
            f"no answer from {self.role}: No-Go",
            expected=f"an answer of {' or '.join(run.environment.gate.roles[self.role])} in time",
            seen=said,
            remedy=f"{self.asks_anew}; or leave the release for another day",
        )

    def _recorded(self, run: ReleaseRun, ledger: Ledger, given: Given, asked: Asked) -> None:
        from include.ledger.approvals import GO, NO_GO
        from include.steps.gate import record_decision

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

    def _follows(self, run: ReleaseRun, given: Given) -> dict[str, Any]:
        """End with what is recorded.

        :param given: ``shown`` is what it counts for
        :raises ApprovalRefused: No-Go
        :raises ApprovalMissing: nobody asks again any more, and it asks for that
        """
        from include.gate.answers import DELEGATE
        from include.ledger.approvals import GO
        from include.steps.gate import must_be_as_shown

        if given.choice == DELEGATE:
            return self._delegated(given)
        if given.choice != GO:
            raise ApprovalRefused(
                f"No-Go of {self.role}",
                expected=GO,
                seen=f"{given.choice} by {given.user}: {given.comment}",
                remedy=f"mend what they object to, then {self.asks_anew}; or start a new run",
            )
        if self.again:
            must_be_as_shown(given.shown, run.fingerprint)
        elif given.shown != run.fingerprint:
            self.log.warning("what was shown has changed meanwhile: %s is asked again", self.role)
        return {"role": self.role, "choice": given.choice, "user": given.user}

    def _delegated(self, given: Given) -> dict[str, Any]:
        self.log.info("%s has named %s to speak for %s, too", given.user, given.to, self.role)
        if self.again:
            raise ApprovalMissing(
                f"{given.to} has not been asked yet",
                expected="a Go",
                seen=f"{given.user} has named {given.to} to speak for {self.role}",
                remedy=self.asks_anew,
            )
        return {"role": self.role, "choice": given.choice, "user": given.user, "to": given.to}


def _transports(run: ReleaseRun) -> Transports:
    from stellwerk.notifiers.transport import transports

    connections = run.environment.connections
    return transports(connections.slack, connections.smtp)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What was handed on, unless somebody has put something else there: it informs and decides nothing."""
    return value if isinstance(value, dict) else {}
