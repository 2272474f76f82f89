"""What Airflow calls when a rollback's run is older than a deadline of its messages, whatever became of its tasks.

It runs in an executor, once for each deadline, and depends on no task of the run (it may never have started) and
on no triggerer. It decides nothing by the clock of the run: the environment's own deadlines, the traffic Service
and the ledger say what is owed. A run that has succeeded has none left, Airflow deletes them then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.errors import LedgerError, PlanError, StellwerkError
from include.plan.loader import load_plan, plan_folder

if TYPE_CHECKING:
    from include.bluegreen.state import ServiceState
    from include.ledger.store import Ledger
    from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

# A deadline counts from the switch, Airflow's from the run: where a human asked, the switch comes a little later.
_PATIENCE: Final = timedelta(seconds=20)


def rollback_deadlines() -> list[DeadlineAlert]:
    """One alert for each deadline that any environment of the plan has."""
    seconds = {
        value
        for environment in load_plan(plan_folder()).environments.values()
        for value in environment.messages.deadlines.model_dump().values()
    }
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=value),
            callback=SyncCallback(rollback_deadline),
            name=f"messages {value:g} s",
        )
        for value in sorted(seconds)
    ]


def rollback_deadline(context: Mapping[str, Any]) -> None:
    """Send, record and escalate what is overdue; a second call finds that done.

    :param context: Airflow's simple one: ``dag_run`` as the REST API shows it
    """
    dag_run = context["dag_run"]
    try:
        run = _run(dag_run)
    except PlanError as error:
        log.info("nothing is owed, the run was refused: %s", error)
        return
    log.info("%s", run.describe())
    asked_at = datetime.fromisoformat(str(dag_run.get("queued_at") or dag_run["run_after"]))
    for sentence in _look(run, asked_at):
        log.info("%s", sentence)


def _look(run: ReleaseRun, asked_at: datetime) -> list[str]:
    from include.steps.rollback_messages import next_due, overdue
    from include.steps.rollback_story import Desk
    from stellwerk.notifiers.transport import transports

    connections = run.environment.connections
    send = transports(connections.slack, connections.smtp)
    desk = Desk(run, _ledger(run), _service(run), send, asked_at)
    due, now = next_due(desk), datetime.now(UTC)
    if due and due - now <= _PATIENCE:
        time.sleep((due - now).total_seconds() + 1)
        desk = Desk(run, _ledger(run), _service(run), send, asked_at)
    return overdue(desk)


def _run(dag_run: Mapping[str, Any]) -> ReleaseRun:
    from include.steps.run import open_run

    conf = dag_run.get("conf") or {}
    return open_run(
        load_plan(plan_folder()),
        release=str(conf.get("release", "")),
        environment=str(conf.get("environment", "")),
        phase=str(dag_run["dag_id"]),
        run_id=str(dag_run["dag_run_id"]),
        triggered_by=dag_run.get("triggering_user_name"),
    )


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

    async def read() -> ServiceState | None:
        hook = ClusterHook.read(run.environment.connections.kubernetes)
        async with hook.cluster(run.environment.namespace) as cluster:
            return await traffic_service(run, cluster)

    try:
        return asyncio.run(read())
    except StellwerkError as error:
        log.warning("%s", error)
        return None
