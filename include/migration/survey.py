"""Everything that is known before a migration or before its way back: the one place where the parts meet.

Each task surveys anew (a step observes first); ``digest`` tells whether it still is what was approved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from include.database.connection import Database
from include.database.facts import DatabaseIdentity
from include.database.schema import Schema
from include.errors import MigrationRefused
from include.migration import squawk
from include.migration.counting import count
from include.migration.finding import Finding
from include.migration.graph import Graph
from include.migration.job import Job, Limits, concurrent_indexes
from include.migration.observe import connection, schema_now, state
from include.migration.preflight import Preflight, examine, not_recorded, the_table
from include.migration.reading import TreeReader
from include.migration.rules import lint
from include.migration.sqltext import statements
from include.migration.tree import Inspection, Rendered, Step, Tree
from include.migration.way_back import WayBackLoss, losses, refuse_unknown_way, reverse


@dataclass(frozen=True)
class Survey:
    """A migration before it is decided.

    :param forward: the pending steps as SQL
    :param backward: the same steps down again, as SQL
    :param before: the schema as it is now
    :param findings: of the preflight and of the linters
    :param way_back: why there is no way down by the tree; None where there is one
    """

    tree: Tree
    inspection: Inspection
    preflight: Preflight
    forward: tuple[Rendered, ...]
    backward: tuple[Rendered, ...]
    before: Schema
    findings: tuple[Finding, ...]
    way_back: MigrationRefused | None

    @cached_property
    def digest(self) -> str:
        """What an approval is about: the database, the sets, the steps with files and SQL, the schema before.

        The SQL counts without its values, which a clock or a random number makes anew each time; those that are
        written down are in the files. What a revision takes from elsewhere than the tree's folder is not seen.
        """
        steps = {step.revision for step in self.preflight.plan}
        facts = [
            [self.preflight.identity.system_identifier, self.preflight.identity.name],
            [sorted(self.preflight.current), sorted(self.preflight.target)],
            [[step.revision, step.up] for step in self.preflight.plan],
            [_approved(one) for one in (*self.forward, *self.backward)],
            [self.inspection.env_digest, self.inspection.data_digest],
            [one.digest for one in self.inspection.revisions if one.name in steps],
            self.before.fingerprint,
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """For the ledger and for the gate."""
        return {
            "digest": self.digest,
            "system": self.preflight.identity.system_identifier,
            "database": self.preflight.identity.name,
            "heads": list(self.preflight.heads),
            "current": sorted(self.preflight.current),
            "target": sorted(self.preflight.target),
            "steps": [step.revision for step in self.preflight.plan],
            "fingerprint": self.before.fingerprint,
            "findings": [{**asdict(one), "text": str(one)} for one in self.findings],
            "way_back": str(self.way_back) if self.way_back else "",
        }

    def job(self, key: str, *, limits: Limits | None = None, expected: Schema | None = None) -> Job:
        """The migration, to be run.

        :param key: of the run, the same for each try of a task
        :param expected: the schema that the rehearsal ended with
        """
        return Job(
            key,
            self.tree,
            Graph(self.inspection.revisions),
            self.preflight.identity,
            self.preflight.plan,
            self.preflight.states,
            self.before,
            expected,
            concurrent_indexes(self.forward),
            limits or Limits(),
        )


@dataclass(frozen=True)
class WayBack:
    """The way down to the recorded set before it is confirmed.

    :param statement: what it destroys
    :param refused: why it cannot be gone; None when it can
    """

    tree: Tree
    graph: Graph
    plan: tuple[Step, ...]
    states: tuple[frozenset[str], ...]
    rendered: tuple[Rendered, ...]
    statement: WayBackLoss
    before: Schema
    refused: MigrationRefused | None

    def job(self, key: str, *, limits: Limits | None = None, expected: Schema | None = None) -> Job:
        """The way down, to be run once ``way_back.confirmed`` has nothing against it.

        :param expected: the schema before the migration
        """
        return Job(
            key,
            self.tree,
            self.graph,
            self.statement.identity,
            self.plan,
            self.states,
            self.before,
            expected,
            concurrent_indexes(self.rendered),
            limits or Limits(),
        )


def _approved(one: Rendered) -> list[str | int]:
    """A revision as SQL, as far as it is the same each time it is rendered; why it was not is no part of it."""
    texts = [statement.without_values for text, _ in one.statements for statement in statements(text)]
    return [*texts, one.line if one.why else -1]


def survey(
    reader: TreeReader,
    database: Database,
    *,
    backup: DatabaseIdentity | None,
    target: tuple[str, ...] = (),
    linter: Path | None = None,
) -> Survey:
    """Look at everything; nothing is written anywhere.

    :param reader: of the new version's tree
    :param backup: identity of the database that the backup holds; None for a copy
    :param target: see ``preflight.examine``
    :param linter: squawk, where it is to be asked
    :raises TreeUnusable: the tree's Python, its Alembic or the linter cannot be run
    :raises DatabaseError: the database gives no answer, or does not let the role look; see its subclasses
    """
    tree, found = reader.tree, reader.inspection
    with connection(database) as opened:
        now, before = state(opened), schema_now(opened)
    seen = examine(tree, found, now, database=database, backup=backup, target=target)
    forward, backward = (reader.render(plan) for plan in (seen.plan, reverse(seen.plan)))
    asked = squawk.squawk(linter, forward, server_version=now.version) if linter else squawk.not_asked(forward)
    findings = (*seen.findings, *lint(forward, backward, before=before), *asked)
    way_back = refuse_unknown_way(backward, forward)
    return Survey(tree, found, seen, forward, backward, before, findings, way_back)


def survey_back(reader: TreeReader, database: Database, recorded: Iterable[str]) -> WayBack:
    """Look at the way down to the recorded set; nothing is written anywhere.

    :param reader: of the new version's tree: only that knows the revisions that have to go
    :param recorded: the revision set before the migration
    :raises MigrationRefused: the tree does not know a revision, or the recorded set is not below the current one
    :raises TreeUnusable: the tree's Python or its Alembic cannot be run
    :raises DatabaseError: the database gives no answer, or does not let the role look; see its subclasses
    """
    tree, found = reader.tree, reader.inspection
    graph = Graph(found.revisions)
    if found.unreadable or not graph.sound:
        raise MigrationRefused(
            "the tree is broken, there is no way down by it",
            seen=", ".join(one.file for one in found.unreadable) or "duplicates, gaps or circles",
            remedy="take the tree that was migrated with",
        )
    with connection(database) as opened:
        now, before = state(opened), schema_now(opened)
        if error := not_recorded(tree, now):
            raise error
        table = the_table(tree, now)
        current = table.revisions if table else frozenset()
        target = graph.normal(recorded)
        plan = graph.downgrade(current, target)
        rendered = reader.render(plan)
        statement = WayBackLoss(now.identity, current, target, count(opened, losses(rendered)))
    refused = refuse_unknown_way(rendered, reader.render(reverse(plan)))
    return WayBack(tree, graph, plan, graph.states(current, plan), rendered, statement, before, refused)
