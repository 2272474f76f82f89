"""Gates: named people decide over evidence, and what they decide becomes an entry of the ledger.

One task asks each role, so every answer is its own row under the required actions. An answer counts only as the
ledger entry written here from what Airflow recorded of the person who answered; a task set to success by hand
writes none, and the acting steps find none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, TaskGroup
from airflow.sdk.definitions.param import ParamsDict

from include.errors import ApprovalMissing, ApprovalRefused
from include.ledger.approvals import GO, NO_GO
from stellwerk.operators.base import StellwerkOperator, airflow_errors
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.ledger.store import Ledger
    from include.steps.gate import Question
    from include.steps.run import ReleaseRun

About = Literal["release", "migration"]
"""What a gate decides about, which says who decides and what exactly a Go is bound to."""


def go_no_go(*, evidence_from: str = "", about: About = "release") -> TaskGroup:
    """Build the Go/No-Go: every role is asked, silence until the deadline is No-Go.

    :param evidence_from: id of the task whose result is shown to those who decide; what is shown about a migration
        comes from the ledger
    """
    with TaskGroup("go_no_go", tooltip="Every role has to say Go; silence is No-Go") as group:
        roles = GateRoles(task_id="roles", about=about)
        decisions = RoleDecision.partial(
            task_id="decide", evidence_from=evidence_from, about=about, map_index_template="{{ task.role }}"
        ).expand_kwargs(roles.output)
        decisions >> Approve(task_id="approve", about=about)
    return group


def _decided_about(run: ReleaseRun, ledger: Ledger, about: About) -> ReleaseRun:
    """The run with the gate and the fingerprint of what is decided about."""
    from include.steps.database.gate import decided_about

    return decided_about(run, ledger) if about == "migration" else run


class GateRoles(StellwerkOperator):
    """Name the roles of the gate, so that each is asked by a task of its own.

    :param about: what is decided about
    """

    def __init__(self, *, about: About = "release", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.about: About = about

    def act(self, run: ReleaseRun) -> list[dict[str, str]]:
        """Return one mapping for each role."""
        if self.about != "release":
            run = _decided_about(run, self.ledger(run), self.about)
        for role, users in run.environment.gate.roles.items():
            self.log.info("%s: %s may answer", role, " or ".join(users))
        return [{"role": role} for role in run.environment.gate.roles]


class RoleDecision(HITLOperator):
    """Ask the people of one role for Go or No-Go.

    Who may answer is read from the plan when the question is asked; the mapped ``role`` is checked against it,
    since an XCom can be overwritten. The form carries the fingerprint of what is shown: that is what a Go is for,
    whatever has changed while the question was open.

    :param role: the role that decides
    :param evidence_from: id of the task whose result is shown
    :param about: what is decided about
    """

    def __init__(self, *, role: str, evidence_from: str, about: About = "release", **kwargs: Any) -> None:
        # A mapped operator is made again with every argument of the class it was mapped from, params included.
        fixed = {"subject": "Go or No-Go?", "options": [GO, NO_GO], "params": _form()}
        super().__init__(**{**kwargs, **fixed})
        self.role = role
        self.evidence_from = evidence_from
        self.about: About = about

    def execute(self, context: Context) -> Any:
        """Ask."""
        with airflow_errors(self.log):
            run = self._run(context)
            gate = run.environment.gate
            if self.role not in gate.roles:
                raise ApprovalMissing(
                    f"role {self.role!r} is not one of this gate",
                    expected=", ".join(gate.roles),
                    seen=self.role,
                    remedy="clear the task `roles` of this gate",
                )
            asked = self._question(run, context)
        self.subject, self.body = asked.subject, asked.body
        self.params = ParamsDict(_form(run.fingerprint))
        self.assigned_users = [{"id": user, "name": user} for user in gate.roles[self.role]]
        self.response_timeout = timedelta(seconds=gate.timeout_seconds)
        self.log.info("%s\n%s", asked.subject, asked.body)
        return super().execute(context)

    def _run(self, context: Context) -> ReleaseRun:
        from stellwerk.hooks.ledger import open_ledger

        run = release_run(context)
        return self._bound(run, open_ledger(run.environment.connections.ledger))

    def _bound(self, run: ReleaseRun, ledger: Ledger) -> ReleaseRun:
        return _decided_about(run, ledger, self.about)

    def _question(self, run: ReleaseRun, context: Context) -> Question:
        from include.steps.database import gate
        from include.steps.gate import question
        from stellwerk.hooks.ledger import open_ledger

        if self.about == "migration":
            return gate.question(run, self.role, open_ledger(run.environment.connections.ledger))
        return question(run, self.role, context["ti"].xcom_pull(task_ids=self.evidence_from) or {})

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer; a No-Go, silence and a Go to something else than what is so now all fail the gate."""
        from include.steps.gate import must_be_as_shown, record_decision
        from stellwerk.hooks.ledger import open_ledger

        with airflow_errors(self.log):
            run = release_run(context)
            ledger = open_ledger(run.environment.connections.ledger)
            if "error" in event:
                run = self._bound(run, ledger)
                record_decision(
                    ledger, run, role=self.role, choice=None, user=None, at=None, comment=event["error"]
                )
                raise ApprovalRefused(
                    f"no answer from {self.role}: No-Go",
                    expected=f"an answer of {' or '.join(run.environment.gate.roles[self.role])} in time",
                    seen=str(event["error"]),
                    remedy="clear this task to ask again, or leave the release for another day",
                )
            answer = super().execute_complete(context, event)
            user, form = answer["responded_by_user"], answer["params_input"]
            choice = GO if answer["chosen_options"] == [GO] else NO_GO
            comment, shown = str(form.get("comment", "")), str(form.get("fingerprint", ""))
            record_decision(
                ledger,
                run,
                role=self.role,
                choice=choice,
                user=user["id"] if user else None,
                at=answer["responded_at"],
                comment=comment,
                shown=shown,
            )
            self.log.info("%s: %s by %s: %s", self.role, choice, user, comment or "(no comment)")
            if choice != GO:
                raise ApprovalRefused(
                    f"No-Go of {self.role}",
                    expected=GO,
                    seen=f"{choice} by {user['id'] if user else 'nobody'}: {comment}",
                    remedy="mend what they object to, then start a new run",
                )
            must_be_as_shown(shown, self._bound(run, ledger).fingerprint)
        return {"role": self.role, "choice": choice, "user": user["id"] if user else None}


def _form(fingerprint: str = "") -> dict[str, Param]:
    """What is filled in beside the answer.

    :param fingerprint: of what is shown; its field offers nothing else
    """
    shown = Param(fingerprint, type="string", title="Fingerprint", description="Of what is decided about")
    if fingerprint:
        shown.schema["enum"] = [fingerprint]
    comment = Param("", type="string", title="Comment", description="Why; kept in the ledger")
    return {"comment": comment, "fingerprint": shown}


class Approve(StellwerkOperator):
    """Conclude the gate: the ledger holds a Go of every role, by enough people, for what is about to happen.

    :param about: what was decided about
    """

    def __init__(self, *, about: About = "release", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.about: About = about

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """Record the approval and return who gave it.

        :raises ApprovalMissing: a state set by hand got us here, or what was approved has changed
        """
        from include.steps.record import APPROVED, record, require_approval

        ledger = self.ledger(run)
        run = _decided_about(run, ledger, self.about)
        approval = require_approval(ledger, run)
        payload = {"fingerprint": run.fingerprint, "people": sorted(approval.people), "phase": run.phase}
        record(ledger, run, APPROVED, payload)
        self.log.info("approved by %s for fingerprint %s", ", ".join(payload["people"]), run.fingerprint)
        return payload
