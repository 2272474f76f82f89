"""What the steps of a migration work with, made from the plan: the one place where plan and domain meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from include.backup.copies import Workshop
from include.backup.retention import Retention
from include.backup.spool import Spool
from include.backup.store import Store
from include.database.clients import Clients
from include.database.connection import Database
from include.errors import PlanError
from include.migration.job import Limits
from include.migration.policy import Acceptance, Policy
from include.migration.tree import Tree
from include.plan.database import VERSION_NAME, AlembicTree, DatabasePlan
from include.steps.run import ReleaseRun


@dataclass(frozen=True)
class Site:
    """Where a run's migration happens.

    :param database: the application's, as its owner
    :param tree: of the version that the release brings
    :param linter: squawk; None where it is not installed, which is a finding of its own
    """

    plan: DatabasePlan
    database: Database
    workshop: Workshop
    tree: Tree
    linter: Path | None

    @property
    def store(self) -> Store:
        """Where backups are kept."""
        return self.workshop.store

    @property
    def limits(self) -> Limits:
        """How long a migration may wait and work."""
        limits = self.plan.limits
        return Limits(
            lock=limits.lock_seconds,
            statement=limits.statement_seconds,
            attempts=limits.attempts,
            pause=limits.pause_seconds,
        )

    @property
    def policy(self) -> Policy:
        """What findings mean here."""
        policy = self.plan.migration
        accepted = (Acceptance(one.rule, one.revision, one.by, one.reason) for one in policy.accepted)
        return Policy(dict(policy.rules), policy.unknown_blocks, tuple(accepted))

    @property
    def retention(self) -> Retention:
        """How long backups are kept."""
        kept = self.plan.backup.retention
        return Retention(newest=kept.newest, days=kept.days, unfinished_hours=kept.unfinished_hours)


def database_plan(run: ReleaseRun) -> DatabasePlan:
    """The database of the run's environment.

    :raises PlanError: it has none
    """
    plan = run.environment.database
    if plan is None:
        raise PlanError(
            f"environment {run.environment.name} has no database in the plan",
            expected="a section `database`",
            remedy=f"add it to environments/{run.environment.name}.yaml, or leave the database to somebody else",
        )
    return plan


def site_of(run: ReleaseRun, database: Database, store: Store, clients: Clients, linter: Path | None) -> Site:
    """What the plan says, with the clients that were opened for it.

    :raises PlanError: the run's environment has no database
    """
    plan = database_plan(run)
    backup = plan.backup
    spool = None
    if backup.spool is not None and backup.spool_bytes is not None:
        spool = Spool(Path(backup.spool), backup.spool_bytes)
    workshop = Workshop(store, clients, plan.maintenance, spool, backup.jobs, backup.count_seconds)
    return Site(plan, database, workshop, tree_of(plan.tree, run.release.version), linter)


def tree_of(planned: AlembicTree, version: str) -> Tree:
    """The tree of one version of the application."""

    def filled(text: str) -> str:
        return text.replace(VERSION_NAME, version)

    return Tree(
        folder=Path(filled(planned.folder)),
        interpreter=tuple(filled(word) for word in planned.interpreter),
        search_path=tuple(Path(filled(path)) for path in planned.search_path),
        config=Path(filled(planned.config)) if planned.config else None,
        section=planned.section,
        script_location=filled(planned.script_location or ""),
        version_table=planned.version_table,
        version_schema=planned.version_schema or "",
        driver=planned.driver,
        url_variable=planned.url_variable or "",
    )
