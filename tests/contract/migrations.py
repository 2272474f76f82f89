"""A database of its own for each test, and migrations of generated trees in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from include.database.connection import Database
from include.migration.activity import TAG
from include.migration.graph import Graph
from include.migration.inventory import inventory
from include.migration.job import Job, Limits, concurrent_indexes
from include.migration.observe import connection, state
from include.migration.preflight import HEADS, examine
from include.migration.process import inspect, render
from include.migration.state import Inventory
from include.migration.tree import Tree
from include.sandbox.postgres import Postgres

OWNER = "valeo_erp"
QUICK = Limits(lock=0.5, statement=20.0, attempts=2, pause=0.1, poll=0.1)


@dataclass
class World:
    """One database: as the migration's role sees it, and as an administrator does."""

    database: Database
    admin: str

    def job(
        self,
        tree: Tree,
        *,
        key: str = "run",
        limits: Limits = QUICK,
        before: Inventory | None = None,
        **other: Any,
    ) -> Job:
        """What the preflight decides now."""
        found = inspect(tree)
        with connection(self.database) as opened:
            now = state(opened)
            before = before or inventory(opened)
        seen = examine(tree, found, now, database=self.database, backup=now.identity, target=HEADS)
        assert seen.findings == (), seen.findings
        return Job(
            key,
            tree,
            Graph(found.revisions),
            now.identity,
            seen.plan,
            seen.states,
            before=before,
            concurrent=concurrent_indexes(render(tree, seen.plan)),
            limits=limits,
            **other,
        )

    def admits(self) -> psycopg.Connection[Any]:
        """A session of an administrator, in autocommit mode."""
        return psycopg.connect(self.admin, autocommit=True, application_name="somebody")

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, as the administrator."""
        with self.admits() as opened:
            return opened.execute(query.encode(), values or None).fetchall()

    def do(self, *statements: str) -> None:
        """Execute statements as the owner."""
        with psycopg.connect(**self.database.parameters(), autocommit=True) as opened:
            for statement in statements:
                opened.execute(statement.encode())

    def revisions(self) -> set[str]:
        """What the version table holds."""
        return {row[0] for row in self.ask("SELECT version_num FROM public.alembic_version")}

    def backends(self) -> list[tuple[Any, ...]]:
        """The backends of migrations that are alive."""
        return self.ask(
            "SELECT pid, state, wait_event_type, query FROM pg_stat_activity WHERE application_name LIKE %s",
            f"{TAG}%",
        )

    def until(self, what: str, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
            time.sleep(0.05)
        return found


def world(server: Postgres, name: str) -> World:
    """A new, empty database that belongs to the application's role."""
    admin = server.url("postgres", "postgres")
    with psycopg.connect(admin, autocommit=True) as opened:
        opened.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        opened.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    database = Database("127.0.0.1", server.port, name, OWNER, server.password(OWNER))
    return World(database, server.url(name, "postgres"))


def elsewhere(given: World, name: str) -> World:
    """Another database of the same server, as the same world."""
    return replace(given, database=given.database.named(name))
