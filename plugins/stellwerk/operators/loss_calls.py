"""What people are called for about a question of a loss: that it waits, comes back, is not heard or has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from include.errors import LedgerError, RestoreUnconfirmed, RollbackRefused, StellwerkError
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from airflow.sdk import BaseOperator, Context

    from include.gate.asked import Asked
    from include.ledger.store import Ledger
    from include.steps.page import Matter
    from include.steps.run import ReleaseRun

#: between two calls without a ledger: what was not taken may have arrived, and nothing is there to say so
AGAIN: Final = timedelta(minutes=1)
# What a question may end with: its own messages tell that.
_OUTCOMES = (RollbackRefused, RestoreUnconfirmed)


def waits(
    task: BaseOperator, context: Context, stated: Mapping[str, Any], before: Asked | None, matter: Matter | None
) -> Matter | None:
    """What people are called to the question for: once for each try that asks at this place.

    Whoever has answered takes it for done: nobody finds a question that comes back by themselves.

    :param before: what was asked here before
    :param matter: what they are called for when it is asked first; None where it can wait to be found
    """
    from include.steps.page import Matter
    from stellwerk.operators.question import place_of

    if before:
        told = "it is asked again: whoever has answered before answers once more"
        matter = matter or Matter(
            f"loss-asked-again:{str(stated['digest'])[:16]}",
            "a question about a loss has come back",
            "",
            f"answer {task.task_id} under the required actions",
        )
        seen = "; ".join(filter(None, (matter.seen, told)))
        matter = replace(matter, key=f"{matter.key}:try{context['ti'].try_number}", seen=seen)
    if matter and (place := place_of(context)):
        matter = replace(matter, key=f"{matter.key}:{place}")
    return matter


def unheard(task: BaseOperator, context: Context, error: LedgerError, until: datetime) -> bool:
    """Call people because what was said cannot be recorded yet, and nobody goes on; whether they were called."""
    from include.steps.page import Matter

    run = release_run(context, with_digest=False)
    what = "what was said about a loss cannot be recorded, so nobody goes on"
    remedy = (
        f"bring the ledger back: {task.task_id} holds the answer until "
        f"{until.astimezone(run.release.zone):%H:%M %Z}, then asks again"
    )
    return call(run, None, Matter("loss-unheard", what, str(error), remedy))


def failed(task: BaseOperator, context: Context, error: BaseException, remedy: str) -> None:
    """Call people because the question has failed for good; what it may end with is told elsewhere."""
    from include.steps.page import Matter
    from stellwerk.hooks.ledger import open_ledger

    why = error.__cause__ or error
    if isinstance(why, _OUTCOMES):
        return
    ledger = None
    try:
        run = release_run(context, with_digest=False)
        ledger = open_ledger(run.environment.connections.ledger)
    except LedgerError as unopened:
        task.log.warning("%s", unopened)
    except StellwerkError as unknown:
        task.log.error("nobody could be called: %s", unknown)  # noqa: TRY400 - the sentence says it all
        return
    what = f"{task.task_id} has failed: nobody is asked about a loss, or heard"
    key = f"loss-not-asked:{task.task_id}:{context['ti'].try_number}"
    call(run, ledger, Matter(key, what, str(why), f"read its log, mend the cause; {remedy}"))


def call(run: ReleaseRun, ledger: Ledger | None, matter: Matter) -> bool:
    """Call people; whether they were called. It never raises."""
    from include.steps.page import page
    from stellwerk.notifiers.transport import transports

    connections = run.environment.connections
    return page(run, ledger, matter, transports(connections.slack, connections.smtp))
