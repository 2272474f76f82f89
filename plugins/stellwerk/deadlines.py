"""What Airflow calls when a rollback's run is older than a deadline of its messages, whatever became of its tasks.

It runs in the triggerer and depends on no worker (docs/adr/0009), and on no task of the run, which may never have
started. It decides nothing by the clock of the run: the environment's own deadlines, the traffic Service and the
ledger say what is owed. A run that has succeeded has none left, Airflow deletes them then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from include.errors import LedgerError, PlanError, StellwerkError
from stellwerk.deadline_reference import RunAsked

if TYPE_CHECKING:
    from include.bluegreen.state import ServiceState
    from include.ledger.store import Ledger
    from include.steps.rollback_story import Desk
    from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

# A deadline counts from the switch, Airflow's from the run: where a human asked, the switch comes a little later.
_PATIENCE: Final = timedelta(seconds=20)


def rollback_deadlines() -> list[DeadlineAlert]:
    """One alert for each deadline that any environment of the plan has."""
    from include.plan.deadlines import message_deadlines
    from include.plan.files import plan_folder

    seconds = {value for told in message_deadlines(plan_folder()) for value in told.model_dump().values()}
    return [
        DeadlineAlert(
            reference=RunAsked(),
            interval=timedelta(seconds=value),
            callback=AsyncCallback(rollback_deadline),
            name=f"messages {value:g} s",
        )
        for value in sorted(seconds)
    ]


async def rollback_deadline(context: Mapping[str, Any]) -> None:
    """Send, record and escalate what is overdue; called a second time, or by two triggerers, it finds that done.

    :param context: Airflow's simple one: ``dag_run`` as the REST API shows it
    """
    dag_run = context["dag_run"]
    asked_at = datetime.fromisoformat(str(dag_run["run_after"]))
    # In threads: Slack, mail and ledger are not asynchronous, and must not hold up the watches of this process.
    run = await asyncio.to_thread(_run, dag_run)
    if run is None:
        return
    due = await asyncio.to_thread(_next_due, run, asked_at)
    if due and (wait := due - datetime.now(UTC)) <= _PATIENCE:
        await asyncio.sleep(wait.total_seconds() + 1)
    for sentence in await asyncio.to_thread(_overdue, run, asked_at):
        log.info("%s", sentence)


def _next_due(run: ReleaseRun, asked_at: datetime) -> datetime | None:
    from include.steps.rollback_messages import next_due

    return next_due(_desk(run, asked_at))


def _overdue(run: ReleaseRun, asked_at: datetime) -> list[str]:
    from include.steps.rollback_messages import overdue

    return overdue(_desk(run, asked_at))


def _desk(run: ReleaseRun, asked_at: datetime) -> Desk:
    from include.steps.rollback_story import Desk
    from stellwerk.notifiers.transport import transports

    connections = run.environment.connections
    send = transports(connections.slack, connections.smtp)
    return Desk(run, _ledger(run), _service(run), send, asked_at)


def _run(dag_run: Mapping[str, Any]) -> ReleaseRun | None:
    from stellwerk.runs import bound_run

    conf = dag_run.get("conf") or {}
    try:
        run = bound_run(
            despite_faults=True,
            release=str(conf.get("release", "")),
            environment=str(conf.get("environment", "")),
            phase=str(dag_run["dag_id"]),
            run_id=str(dag_run["dag_run_id"]),
            triggered_by=dag_run.get("triggering_user_name"),
        )
    except PlanError as error:
        log.info("nothing is owed, the run was refused: %s", error)
        return None
    log.info("%s", run.describe())
    return run


def _ledger(run: ReleaseRun) -> Ledger | None:
    from stellwerk.hooks.ledger import open_ledger

    try:
        return open_ledger(run.environment.connections.ledger)
    except LedgerError as error:
        log.warning("%s", error)
        return None


def _service(run: ReleaseRun) -> ServiceState | None:
    from include.steps.announce import traffic_service
    from stellwerk.hooks.kubernetes import ClusterHook

    async def read(hook: ClusterHook) -> ServiceState | None:
        async with hook.cluster(run.environment.namespace) as cluster:
            return await traffic_service(run, cluster)

    try:
        return asyncio.run(read(ClusterHook.read(run.environment.connections.kubernetes)))
    except StellwerkError as error:
        log.warning("%s", error)
        return None
