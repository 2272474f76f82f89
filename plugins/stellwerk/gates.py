"""Gates: named people decide over evidence, and what they decide becomes an entry of the ledger.

One task asks each role, so every answer is its own row under the required actions. An answer counts only as the
ledger entry written here from what Airflow recorded of the person who answered; a task set to success by hand
writes none, and the acting steps find none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from airflow.sdk import TaskGroup

from stellwerk.operators.checklist import ChecklistPoints, ChecklistSettled, TickPoints
from stellwerk.operators.decision import RoleDecision
from stellwerk.operators.gate import About, Approve, GateRoles

#: What was stopped goes on where it was: what breaks around it costs a try and must not end it.
PATIENCE: Final[dict[str, Any]] = {
    "retries": 5,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2,
}
#: how a place that a question is asked at is called
NAMED: Final = "{{ task.role }}{{ ' (over)' if task.over else '' }}"
# What was not needed was skipped; what has failed ends the gate.
_CONCLUDES: Final = "none_failed_min_one_success"


def go_no_go(*, evidence_from: str = "", about: About = "release", group_id: str = "go_no_go") -> TaskGroup:
    """Build the Go/No-Go: every role is asked, silence until the deadline is No-Go.

    Whoever names a delegate, or says Go to something that has changed meanwhile, has their role asked once more.

    :param evidence_from: id of the task whose result is shown to those who decide; what is shown about a migration
        comes from the ledger
    """
    with TaskGroup(group_id, tooltip="Every role has to say Go; silence is No-Go") as group:
        first = GateRoles(task_id="roles", asks="decide", about=about, **PATIENCE)
        decide = RoleDecision.partial(
            task_id="decide", evidence_from=evidence_from, about=about, map_index_template=NAMED, **PATIENCE
        ).expand_kwargs(first.output)
        second = GateRoles(task_id="open_roles", asks="decide_again", about=about, again=True, **PATIENCE)
        again = RoleDecision.partial(
            task_id="decide_again",
            evidence_from=evidence_from,
            about=about,
            again=True,
            map_index_template=NAMED,
            **PATIENCE,
        ).expand_kwargs(second.output)
        decide >> second >> again
        [second, again] >> Approve(task_id="approve", about=about, trigger_rule=_CONCLUDES, **PATIENCE)
    return group


def sign_off() -> TaskGroup:
    """Build the sign-off: every role of ``sign_off`` says that the release is done; without any it is skipped."""
    return go_no_go(about="sign-off", group_id="sign_off")


def checklist(*names: str, group_id: str = "checklist", patience: timedelta = timedelta(days=2)) -> TaskGroup:
    """Build the gate of one or more checklists: each point is settled by a record, or by a person's tick.

    Every role is asked once for all of its points, and only when machines have settled theirs: they come before.
    Without any points nobody is asked and the gate is passed.

    :param names: of the environment's ``checklists``
    :param patience: how long people are waited for
    """
    with TaskGroup(group_id, tooltip=f"Every point of {', '.join(names)} is settled") as group:
        points = ChecklistPoints(task_id="points", names=names, asks="tick", **PATIENCE)
        tick = TickPoints.partial(
            task_id="tick", names=names, patience=patience.total_seconds(), map_index_template=NAMED, **PATIENCE
        ).expand_kwargs(points.output)
        [points, tick] >> ChecklistSettled(task_id="settled", names=names, trigger_rule=_CONCLUDES, **PATIENCE)
    return group
