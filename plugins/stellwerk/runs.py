"""From an Airflow context to the release run it stands for, and from one run to the next."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import DagRunTriggerException

from include.errors import InvalidPlan, LedgerError, PlanError, UnknownEnvironment, UnknownRelease

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.plan.kept import Kept
    from include.plan.loader import Plan
    from include.steps.run import ReleaseRun

log = logging.getLogger(__name__)

_SAVING_SECONDS: Final = 1.0
"""How long somebody who saves a file in two steps may be in between."""


def release_run(context: Context, *, with_digest: bool = True, despite_faults: bool | None = None) -> ReleaseRun:
    """Read the run's parameters, refuse what the plan does not know, and bind them to this DAG run.

    Where the environment names a registry, the image is the digest that the run's preflight found.

    :param with_digest: whether the digest is needed; what goes back deploys no image of this release and must not
        wait for the ledger
    :param despite_faults: as for :func:`bound_run`; None: where no digest is needed
    :raises PlanError: unknown release, unknown environment or a parameter the DAG does not have
    :raises LedgerUnavailable: it cannot be asked for the digest
    """
    params = dict(context["params"])
    dag_run = context["dag_run"]
    refuse_unknown_keys(dag_run.conf or {}, context["dag"].params)  # the params hold every key of the conf
    run = bound_run(
        despite_faults=not with_digest if despite_faults is None else despite_faults,
        release=str(params.get("release", "")),
        environment=str(params.get("environment", "")),
        phase=context["dag"].dag_id,
        run_id=dag_run.run_id,
        triggered_by=getattr(dag_run, "triggering_user_name", None),
        override_reason=str(params.get("override_reason", "")),
    )
    run = replace(run, born=_born(dag_run))
    connections = run.environment.connections
    if connections.registry is None or not with_digest:
        return run
    from include.steps.images import pinned
    from stellwerk.hooks.ledger import open_ledger

    return pinned(run, open_ledger(connections.ledger))


def bound_run(*, despite_faults: bool, release: str, environment: str, **named: Any) -> ReleaseRun:
    """Bind a run to the plan.

    :param despite_faults: go on with what the ledger has kept of a release's files where one is broken or gone:
        for what goes back, watches, or only asks and tells
    :param named: the rest of what :func:`include.steps.run.open_run` takes
    :raises PlanError: the plan does not know release or environment, or cannot be read
    """
    from include.steps.run import open_run

    plan, named = _plan(), {"release": release, "environment": environment, **named}
    try:
        return open_run(plan, **named)
    except (InvalidPlan, UnknownRelease, UnknownEnvironment) as error:
        kept = _kept(plan, release, environment) if despite_faults else None
        if kept is not None:
            log.warning("the plan is BROKEN, this step goes on with it as it was last read whole: %s", error)
            return open_run(plan, **named, kept=kept)
        if not isinstance(error, InvalidPlan):
            raise
    time.sleep(_SAVING_SECONDS)
    return open_run(_plan(), **named)


def _plan() -> Plan:
    from include.plan.loader import load_plan, plan_folder

    return load_plan(plan_folder())


def _kept(plan: Plan, release: str, environment: str) -> Kept | None:
    from include.plan.kept import ledgers_of
    from include.steps.planned import kept_plan
    from stellwerk.hooks.ledger import open_ledger

    for connection in ledgers_of(plan, environment):
        try:
            kept = kept_plan(open_ledger(connection), release, environment)
        except LedgerError as error:
            log.warning("ledger %s: %s", connection, error)
            continue
        if kept is not None:
            return kept
    return None


def _born(dag_run: Any) -> str:
    """When and by whom a run was begun: never changed by clearing it, and not by its id."""
    after = getattr(dag_run, "run_after", None)
    return f"{after.isoformat()} {getattr(dag_run, 'triggering_user_name', None) or ''}".strip() if after else ""


def refuse_unknown_keys(conf: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Refuse a conf with keys the DAG has no param for: a misspelt option must not be ignored.

    :raises PlanError: naming the keys
    """
    unknown = sorted(set(conf) - set(params))
    if unknown:
        raise PlanError(
            "unknown parameter",
            expected=f"only {', '.join(sorted(params))}",
            seen=", ".join(unknown),
            remedy="trigger the DAG again with the right names",
        )


def start_once(
    dag_id: str, run_id: str, conf: Mapping[str, Any], *, note: str | None = None
) -> DagRunTriggerException:
    """What a task raises to start another DAG and end; starting the same run twice starts it once."""
    return DagRunTriggerException(
        trigger_dag_id=dag_id,
        dag_run_id=run_id,
        conf=dict(conf),
        logical_date=None,
        reset_dag_run=False,
        skip_when_already_exists=True,
        wait_for_completion=False,
        allowed_states=["success"],
        failed_states=["failed"],
        poke_interval=5,
        deferrable=False,
        note=note,
    )
