"""An application about to be migrated, with all that the steps of ``db-migration`` work with."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg.sql import SQL, Identifier
from upath import UPath

from include.backup.store import Store
from include.database.clients import find_clients
from include.database.connection import Database
from include.ledger.approvals import GO
from include.ledger.store import Ledger
from include.migration.apply import Migration
from include.migration.preflight import HEADS
from include.migration.squawk import find
from include.migration.tree import Tree
from include.sandbox.erp.build import build_folder
from include.sandbox.erp.versions import VERSIONS
from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.sandbox.postgres_roles import allow_copies
from include.steps.database.apply import migrate
from include.steps.database.backup import prove, take, utc_now
from include.steps.database.gate import decided_about
from include.steps.database.look import look
from include.steps.database.rehearse import SuiteResult, Trying, rehearse
from include.steps.database.site import Site, site_of
from include.steps.gate import record_decision
from include.steps.record import all_recorded
from include.steps.run import ReleaseRun
from tests.contract.migrations import OWNER, World, surveyed, world
from tests.contract.trees import tree
from tests.memory import MemoryLedger
from tests.unit.steps.database.worlds import a_run

OLD, NEW = {"0002_orders"}, {"0003_delivery_date"}
QUICK = {"lock_seconds": 0.5, "statement_seconds": 20, "attempts": 2, "pause_seconds": 0.1}


_TEMPLATE = "erp as 2.9.0 left it"


@dataclass
class Place:
    """One application at one version, about to be migrated."""

    erp: World
    run: ReleaseRun
    site: Site
    ledger: Ledger = field(default_factory=lambda: cast("Ledger", MemoryLedger()))
    decided_at: datetime = field(default_factory=utc_now)

    def databases(self) -> set[str]:
        return {name for (name,) in self.erp.ask("SELECT datname::text FROM pg_database WHERE NOT datistemplate")}

    def rows(self, table: str) -> int:
        return int(self.erp.ask(f"SELECT count(*) FROM public.{table}")[0][0])

    def decide(self) -> None:
        run = decided_about(self.run, self.ledger)
        for role, users in run.environment.gate.roles.items():
            said = {"choice": GO, "user": users[0], "at": self.decided_at, "comment": ""}
            record_decision(self.ledger, run, role=role, **said)  # type: ignore[arg-type]

    def prepare_rehearsal(self) -> None:
        take(self.run, self.site, self.ledger, "rehearsal")
        prove(self.run, self.site, self.ledger, "rehearsal")
        look(self.run, self.site, self.ledger)

    def rehearse(self, trying: Trying | None = None) -> dict[str, Any]:
        self.prepare_rehearsal()
        return rehearse(self.run, self.site, self.ledger, trying)

    def secure(self) -> None:
        take(self.run, self.site, self.ledger, "safety")
        prove(self.run, self.site, self.ledger, "safety")

    def migrate(self) -> dict[str, Any]:
        self.rehearse(Trying(old_version))
        self.decide()
        self.secure()
        return migrate(self.run, self.site, self.ledger)

    def count(self, kind: str) -> int:
        return len(all_recorded(self.ledger, self.run, kind))


def old_version(database: Database) -> SuiteResult:
    """What 2.9.0 does with an order, which knows nothing of delivery dates."""
    with psycopg.connect(**database.parameters()) as connection:
        connection.execute("INSERT INTO orders (article_id, quantity, total_cents) VALUES (1, 1, 100)")
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    return SuiteResult("orders of 2.9.0", ok=row is not None and row[0] > 10, sentences=("an order was placed",))


def place(erp: World, folder: Path, given: dict[str, Any], **section: Any) -> Place:
    """A place whose plan names this tree."""
    named = {"limits": QUICK, "rehearsal": {"old_version": {"program": ["/suite"]}}, **section}
    run = a_run(tree=given, backups=f"file://{folder}/backups", **named)
    clients = find_clients(installed_postgres() / "bin")
    site = site_of(run, erp.database, Store(UPath(str(folder / "backups"))), clients, find())
    return Place(erp, run, site)


def demo_place(server: Postgres, folder: Path, **section: Any) -> Place:
    """The demo ERP as 2.9.0 has left it, with ten orders; the run brings 3.0.0."""
    app = build_folder(VERSIONS["3.0.0"]) / "app"
    given = {
        "folder": str(app),
        "interpreter": [sys.executable, "-I", "-S"],
        "search_path": [str(app), str(app / "lib")],
        "script_location": str(app / "erp" / "migrations"),
    }
    return place(_copy_of(server, given, folder), folder, given, **section)


def _copy_of(server: Postgres, given: dict[str, Any], folder: Path) -> World:
    """A copy of the database as 2.9.0 has left it, which is migrated to there once for each server."""
    admin = server.url("postgres", SUPERUSER)
    with psycopg.connect(admin) as opened:
        known = opened.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone()
    if not known:
        allow_copies(admin, OWNER)
        erp = world(server, "erp")
        first = surveyed(place(erp, folder, given).site.tree, erp.database, target=tuple(OLD))
        Migration(first.job("first"), erp.database).run()
        columns = "(article_id, quantity, total_cents)"
        erp.do(f"INSERT INTO public.orders {columns} SELECT 1, 1, 100 FROM generate_series(1, 10)")
        with psycopg.connect(admin, autocommit=True) as opened:
            opened.execute(SQL("ALTER DATABASE erp RENAME TO {}").format(Identifier(_TEMPLATE)))
    return world(server, "erp", template=_TEMPLATE)


def generated(
    server: Postgres,
    folder: Path,
    revisions: dict[str, str],
    *,
    name: str = "erp",
    owner: str = OWNER,
    **section: Any,
) -> Place:
    """A place with a tree of the test's own, of which the first revision is in the database."""
    made = tree(folder / "tree", revisions)
    given = {"folder": str(made.folder), "interpreter": list(made.interpreter), "config": str(made.config)}
    allow_copies(server.url("postgres", SUPERUSER), owner)
    erp = world(server, name, owner=owner)
    first = dict(list(revisions.items())[:1])
    old: Tree = tree(folder / "old", first)
    Migration(surveyed(old, erp.database, target=HEADS).job("first"), erp.database).run()
    return place(erp, folder, given, **section)
