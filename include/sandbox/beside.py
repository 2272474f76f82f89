"""Another Airflow beside a sandbox's own: the same cluster, database server, ledger and sinks, other users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from include.sandbox.airflow import AirflowRuntime
from include.sandbox.airflow_environment import AuthManager
from include.sandbox.environment import Sandbox
from include.sandbox.postgres import SUPERUSER
from include.sandbox.postgres_roles import create_database


@dataclass(frozen=True)
class Beside:
    """An Airflow with the plan that it reads."""

    airflow: AirflowRuntime
    plan_folder: Path


@contextmanager
def airflow_beside(sandbox: Sandbox, auth_manager: AuthManager) -> Iterator[Beside]:
    """Start an Airflow with another auth manager on the sandbox, and stop it in the end.

    Both act on the same environment: only one of them may release at a time, as the Lease says.
    """
    name = f"airflow_{auth_manager}"
    postgres, folder = sandbox.postgres, sandbox.options.state / name
    with psycopg.connect(postgres.url("postgres", SUPERUSER), autocommit=True) as connection:
        create_database(connection, name, "airflow", open_to_all=False)
    plan = folder / "plan"
    sandbox.render_plan(plan, auth_manager)
    database_url = postgres.url(name, "airflow", driver="psycopg")
    airflow = sandbox.airflow_at(folder / "airflow", database_url, plan, auth_manager=auth_manager)
    airflow.start()
    try:
        yield Beside(airflow, plan)
    finally:
        airflow.stop()
