"""What a migration was when it began, as the ledger and the store tell it: every try runs exactly that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from include.database.facts import DatabaseIdentity
from include.database.schema import Schema
from include.errors import MigrationRefused
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.migration.graph import Graph
from include.migration.job import Job, concurrent_indexes
from include.migration.reading import reading
from include.migration.tree import Rendered, Step
from include.migration.unseen import unseen
from include.steps.database.entries import ROWS_AT_RISK
from include.steps.database.site import Site
from include.steps.record import all_recorded, record
from include.steps.run import ReleaseRun


def described(plan: Iterable[Step], graph: Graph, env_digest: str, rendered: Iterable[Rendered]) -> dict[str, Any]:
    """The steps, the files that they are in, and which of them may change rows unseen, for the ledger."""
    steps = tuple(plan)
    return {
        "plan": [[step.revision, step.up] for step in steps],
        "files": {step.revision: graph.by_name[step.revision].digest for step in steps},
        "env": env_digest,
        "unseen": list(unseen(rendered)),
    }


def before_an_attempt(run: ReleaseRun, ledger: Ledger, intent: Entry) -> None:
    """Record that a migration begins whose first step may change rows unseen: from then on nobody can rule it out.

    :raises LedgerUnavailable: the ledger cannot be written; nothing may begin then
    """
    if revision := _unseen_first(intent):
        record(ledger, run, ROWS_AT_RISK, {"began": intent.sequence, "revision": revision}, number=intent.sequence)


def rows_at_risk(run: ReleaseRun, ledger: Ledger, intent: Entry) -> str:
    """The revision that may have changed rows while revision set and schema are what they were; "" for none.

    :raises LedgerError: the ledger gives no answer
    """
    found = all_recorded(ledger, run, ROWS_AT_RISK)
    return next((str(one.payload["revision"]) for one in found if one.payload["began"] == intent.sequence), "")


def _unseen_first(intent: Entry) -> str:
    plan = intent.payload.get("plan") or [["", True]]
    first = str(plan[0][0])
    return first if first in intent.payload.get("unseen", ()) else ""


def job_of(
    entry: Entry, site: Site, *, key: str, before: Schema | None, expected: Schema | None
) -> tuple[Job, Graph]:
    """The recorded migration, to be run (again).

    :param entry: an intent: ``system``, ``database``, ``current``, and what :func:`described` says
    :raises MigrationRefused: the tree's files are not the ones that were decided about
    :raises TreeUnusable: its Python or its Alembic cannot be run
    """
    told = entry.payload
    plan = tuple(Step(str(revision), bool(up)) for revision, up in told["plan"])
    with reading(site.tree) as reader:
        graph = Graph(reader.inspection.revisions)
        _must_be_the_same(told, graph, reader.inspection.env_digest)
        statements = reader.render(plan)
    job = Job(
        key,
        site.tree,
        graph,
        identity_in(told),
        plan,
        graph.states(frozenset(told["current"]), plan),
        before,
        expected,
        concurrent_indexes(statements),
        site.limits,
    )
    return job, graph


def identity_in(told: Mapping[str, Any]) -> DatabaseIdentity:
    """The database that an entry is about."""
    return DatabaseIdentity(system_identifier=str(told["system"]), name=str(told["database"]))


def named(identity: DatabaseIdentity) -> dict[str, str]:
    """The same for the ledger."""
    return {"system": identity.system_identifier, "database": identity.name}


def _must_be_the_same(told: Mapping[str, Any], graph: Graph, env_digest: str) -> None:
    names = graph.by_name
    changed = [name for name, digest in told["files"].items() if name not in names or names[name].digest != digest]
    if env_digest != told["env"]:
        changed.append("env.py")
    if changed:
        raise MigrationRefused(
            "the tree is not the one that the migration began with",
            expected="the files that were decided about",
            seen=f"{', '.join(sorted(changed))} changed or gone",
            remedy="bring the version's own tree back; the database is where the ledger and the log say",
        )
