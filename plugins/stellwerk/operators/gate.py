"""Who has yet to decide at a gate, and whether it is decided; the question itself is in ``operators.decision``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from stellwerk.operators.base import StellwerkOperator
from stellwerk.operators.question import beside
from stellwerk.people import without_account

if TYPE_CHECKING:
    from include.ledger.store import Ledger
    from include.steps.run import ReleaseRun

About = Literal["release", "migration", "sign-off"]
"""What a gate decides about, which says who decides and what exactly a Go is bound to."""


def gated(run: ReleaseRun, about: About) -> ReleaseRun:
    """The run with the gate of what is decided about: who decides, whatever it is by now."""
    from include.steps.database.gate import decided_by
    from include.steps.sign_off import signed_off

    if about == "migration":
        return decided_by(run)
    return signed_off(run) if about == "sign-off" else run


def bound(run: ReleaseRun, ledger: Ledger, about: About) -> ReleaseRun:
    """The run with the gate and the fingerprint of what is decided about."""
    from include.steps.database.gate import decided_about
    from include.steps.decided import release_decided

    if about == "migration":
        return decided_about(run, ledger)
    return gated(run, about) if about == "sign-off" else release_decided(run, ledger)


class GateRoles(StellwerkOperator):
    """Name the roles that have yet to decide, so that each is asked by a task of its own.

    :param asks: the task that asks, in the same group
    :param about: what is decided about
    :param again: only the roles whose answer asks for another question
    """

    def __init__(self, *, asks: str, about: About = "release", again: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asks = asks
        self.about: About = about
        self.again = again

    def act(self, run: ReleaseRun) -> list[dict[str, str]]:
        """See :func:`include.steps.gate_round.round_of`."""
        from include.steps.gate_round import round_of, state_of

        ledger = self.ledger(run)
        state = state_of(bound(run, ledger, self.about), ledger, datetime.now(UTC))
        for point in state.points:
            self.log.info("%s", point.line)
        found = round_of(state, beside(self.task_id, self.asks), again=self.again)
        asked = [one["role"] for one in found if not one["over"]]
        for role in asked:
            self.log.info("%s: %s may answer", role, " or ".join(state.holders[role]))
        everybody = [person for role in asked for person in state.holders[role]]
        if unknown := without_account(run.environment, everybody):
            self.log.warning(
                "%s: `accounts` of %s has no id of theirs; unless Airflow's auth manager knows them by these very "
                "names, they cannot answer, and silence is No-Go",
                ", ".join(unknown),
                run.environment.name,
            )
        return found


class Approve(StellwerkOperator):
    """Conclude the gate: the ledger holds a Go of every role, by enough people, for what is about to happen.

    :param about: what was decided about
    """

    def __init__(self, *, about: About = "release", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.about: About = about

    def act(self, run: ReleaseRun) -> dict[str, Any]:
        """Record the approval and return who gave it.

        :raises ApprovalMissing: a state set by hand got us here, what was approved has changed, or a Go has lapsed
        """
        from include.steps.record import APPROVED, SIGNED_OFF, record, require_approval

        ledger = self.ledger(run)
        run = bound(run, ledger, self.about)
        approval = require_approval(ledger, run, datetime.now(UTC))
        payload = {"fingerprint": run.fingerprint, "people": sorted(approval.people), "phase": run.phase}
        kind = SIGNED_OFF if self.about == "sign-off" else APPROVED
        record(ledger, run, kind, payload, number=run.fingerprint[:16])
        self.log.info("approved by %s for fingerprint %s", ", ".join(payload["people"]), run.fingerprint)
        return payload
