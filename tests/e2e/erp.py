"""The demo ERP as its users and its database see it, and what the ledger tells about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg

from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.activity import TAG
from include.sandbox.airflow_client import AirflowClient, Run
from include.sandbox.environment import Sandbox

OLD, NEW = {"0002_orders"}, {"0003_delivery_date"}


class Erp:
    """The demo ERP's database, and the ledger beside it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.url = sandbox.postgres.url("valeo_erp")
        self.public = sandbox.addresses.public_url
        self.ledger = Ledger(sandbox.postgres.url("stellwerk", "stellwerk_append"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def revisions(self) -> set[str]:
        return {revision for (revision,) in self.ask("SELECT version_num FROM alembic_version")}

    def databases(self) -> set[str]:
        return {name for (name,) in self.ask("SELECT datname::text FROM pg_database WHERE NOT datistemplate")}

    def orders(self) -> int:
        return int(self.ask("SELECT count(*) FROM orders")[0][0])

    def order(self) -> None:
        """As a user of the version that runs."""
        answer = httpx.post(f"{self.public}/api/v1/orders", json={"article_id": 1, "quantity": 2}, timeout=10)
        assert answer.status_code == httpx.codes.CREATED, answer.text

    def waiting(self) -> list[int]:
        """Backends of a migration that wait for somebody's lock."""
        mine = f"application_name LIKE '{TAG}%'"
        return [
            pid
            for (pid,) in self.ask(f"SELECT pid FROM pg_stat_activity WHERE {mine} AND wait_event_type = 'Lock'")
        ]

    def backends(self) -> list[int]:
        """Backends of any migration."""
        return [
            pid for (pid,) in self.ask(f"SELECT pid FROM pg_stat_activity WHERE application_name LIKE '{TAG}%'")
        ]

    @contextmanager
    def locked(self, table: str, mode: str) -> Iterator[None]:
        """Somebody's transaction holds a lock for as long."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield

    def entries(self, run: Run) -> list[Entry]:
        return list(self.ledger.entries(run_id=run.run_id))

    def told(self, run: Run, kind: str) -> list[dict[str, Any]]:
        return [dict(entry.payload) for entry in self.entries(run) if entry.kind == kind]


def states(client: AirflowClient, run: Run) -> dict[str, str]:
    """Task to state."""
    return {task.task_id: task.state for task in client.tasks(run)}


def restore_states(client: AirflowClient, run: Run) -> set[str]:
    """The states of a rollback's tasks that restore the database."""
    found = {state for task, state in states(client, run).items() if task.startswith("full_restore.")}
    assert found, "there are no such tasks"
    return found
