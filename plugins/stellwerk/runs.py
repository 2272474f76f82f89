"""From an Airflow context to the release run it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from include.errors import PlanError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.steps.run import ReleaseRun


def release_run(context: Context, *, with_digest: bool = True) -> ReleaseRun:
    """Read the run's parameters, refuse what the plan does not know, and bind them to this DAG run.

    Where the environment names a registry, the image is the digest that the run's preflight found.

    :param with_digest: whether the digest is needed; what goes back deploys no image of this release and must not
        wait for the ledger
    :raises PlanError: unknown release, unknown environment or a parameter the DAG does not have
    :raises LedgerUnavailable: it cannot be asked for the digest
    """
    from include.plan.loader import load_plan, plan_folder
    from include.steps.run import open_run

    params = dict(context["params"])
    dag_run = context["dag_run"]
    refuse_unknown_keys(dag_run.conf or {}, context["dag"].params)  # the params hold every key of the conf
    run = open_run(
        load_plan(plan_folder()),
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
