"""A database of its own for each test, and migrations of generated trees in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from include.database.connection import Database
from include.database.schema import Schema
from include.migration.activity import TAG
from include.migration.apply import Migration
from include.migration.graph import Graph
from include.migration.job import Job, Limits, concurrent_indexes
from include.migration.observe import connection, schema_now, state
from include.migration.preflight import HEADS, examine
from include.migration.reading import TreeReader, reading
from include.migration.survey import Survey, WayBack, survey, survey_back
from include.migration.tree import Tree
from include.sandbox.postgres import Postgres
from tests.contract.trees import ENV, concurrently, revision, sql, tree

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
        before: Schema | None = None,
        **other: Any,
    ) -> Job:
        """What the preflight decides now."""
        with reading(tree) as reader:
            return self._job(reader, key=key, limits=limits, before=before, **other)

    def _job(self, reader: TreeReader, *, key: str, limits: Limits, before: Schema | None, **other: Any) -> Job:
        tree, found = reader.tree, reader.inspection
        with connection(self.database) as opened:
            now = state(opened)
            before = before or schema_now(opened)
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
            concurrent=concurrent_indexes(reader.render(seen.plan)),
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


def world(server: Postgres, name: str, *, template: str = "template1", owner: str = OWNER) -> World:
    """A new database that belongs to the application's role: empty, or a copy of another one."""
    admin = server.url("postgres", "postgres")
    with psycopg.connect(admin, autocommit=True) as opened:
        opened.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
        made = SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        opened.execute(made.format(Identifier(name), Identifier(owner), Identifier(template)))
    database = Database("127.0.0.1", server.port, name, owner, server.password(owner))
    return World(database, server.url(name, "postgres"))


# -- what most tests migrate ---------------------------------------------------------------------------------

FIRST = {"a": revision("a", None, sql("CREATE TABLE orders (id int)"), sql("DROP TABLE orders"))}
LINE = FIRST | {
    "b": revision("b", "a", sql("ALTER TABLE orders ADD note text"), sql("ALTER TABLE orders DROP note")),
    "c": revision("c", "b", sql("CREATE TABLE notes (id int)"), sql("DROP TABLE notes")),
}
INDEX = FIRST | {"b": revision("b", "a", concurrently('CREATE UNIQUE INDEX CONCURRENTLY "i x" ON orders (id)'))}
SLEEP = """
op.execute("ALTER TABLE orders ADD note text")
op.execute("SELECT pg_sleep(" + open("seconds").read() + ")")
"""


def slow(folder: Path, seconds: float = 60, env: str = ENV) -> Tree:
    """A tree whose second revision sleeps, for as long as its folder says."""
    (folder / "seconds").write_text(str(seconds))
    return tree(folder, FIRST | {"b": revision("b", "a", SLEEP)}, env=env)


def surveyed(given: Tree, database: Database, **asked: Any) -> Survey:
    """What a survey finds now."""
    with reading(given) as reader:
        return survey(reader, database, **{"backup": None, **asked})


def surveyed_back(given: Tree, database: Database, recorded: Iterable[str]) -> WayBack:
    """What a survey of the way back finds now."""
    with reading(given) as reader:
        return survey_back(reader, database, recorded)


def at_a(given: World, folder: Path) -> None:
    """Bring the database to the first revision."""
    Migration(given.job(tree(folder / "first", FIRST)), given.database).run()
    assert given.revisions() == {"a"}


def schema(given: World) -> Schema:
    """The schema as it is now."""
    with connection(given.database) as opened:
        return schema_now(opened)


Contents = dict[str, tuple[tuple[str, ...], int, str]]
"""Table → its columns, how many rows it has, and a digest of them."""

_COLUMNS = """
SELECT format('%I.%I', n.nspname, c.relname), array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relname NOT IN ('alembic_version', 'log')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' GROUP BY 1 ORDER BY 1
"""


def contents(given: World, like: Contents | None = None) -> Contents:
    """Every row of every table, but for the version's and one that is called ``log``.

    :param like: look at the tables and columns only that were there then
    """
    wanted = {table: tuple(columns) for table, columns in given.ask(_COLUMNS)}
    if like is not None:
        wanted = {table: columns for table, (columns, _, _) in like.items()}
    found: Contents = {}
    with given.admits() as opened:
        for table, columns in wanted.items():
            names = SQL(", ").join(Identifier(column) for column in columns)
            query = SQL("SELECT count(*), md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM ")
            rows = SQL("(SELECT {} FROM {}) t").format(names, SQL(table))  # type: ignore[arg-type]
            row = opened.execute(query + rows).fetchone()
            assert row is not None
            found[table] = (columns, *row)
    return found


def reached(point: str, _pid: int, state: str, waits_for: str, query: str) -> bool:
    """Whether a backend (see ``World.backends``) is where its revision's comment says."""
    if point == "index building":
        return "CONCURRENTLY" in query and waits_for == "Lock"
    return f"/* {point} */" in query and state == "active"
