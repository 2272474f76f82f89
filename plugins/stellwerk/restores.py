"""The full restore of a rollback as a group of tasks."""

from __future__ import annotations

from airflow.sdk import BaseOperator, TaskGroup

from stellwerk.gates import NAMED, PATIENCE
from stellwerk.operators.full_restore import (
    AskRestore,
    RestoreDatabase,
    ResumeApplication,
    StateLoss,
    StopApplication,
)
from stellwerk.operators.message import Announce
from stellwerk.operators.rollback import GROUP


def full_restore() -> tuple[TaskGroup, BaseOperator]:
    """Nothing is touched before a human has said yes to what is lost, and nobody writes while it is lost.

    What was written between the first count and the stop is counted again; where it is more than was confirmed,
    the human is asked again. What is written after that ends the restore. Where it comes to nothing, the
    application is taken up as it was, unless another run goes on with a restore of its own.

    :return: the group, and the task after which the database is the backup's
    """
    with TaskGroup(GROUP, tooltip="Only where it was asked for: the database from its backup") as group:
        state = StateLoss(task_id="state_loss", asks="ask")
        ask = AskRestore.partial(task_id="ask", map_index_template=NAMED, **PATIENCE).expand_kwargs(state.output)
        stop = StopApplication(task_id="stop", **PATIENCE)
        count = StateLoss(task_id="count_again", asks="ask_again", **PATIENCE)
        again = AskRestore.partial(task_id="ask_again", map_index_template=NAMED, **PATIENCE).expand_kwargs(
            count.output
        )
        restore = RestoreDatabase(task_id="restore", **PATIENCE)
        resume = ResumeApplication(task_id="resume", trigger_rule="one_failed", **PATIENCE)
        state >> ask >> stop >> count >> again >> restore
        [stop, count, again, restore] >> resume
        # The rollback's own messages may be out long since: it works after a switch back, too.
        restore >> Announce(task_id="announce", event="database-restored")
    return group, restore
