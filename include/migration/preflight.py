"""Whether a tree and a database fit together, before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from include.database.connection import Database
from include.database.facts import DatabaseIdentity
from include.database.revisions import VersionTable
from include.errors import MigrationRefused
from include.migration.finding import Finding, Severity
from include.migration.graph import Graph
from include.migration.state import DatabaseState
from include.migration.tree import Inspection, Step, Tree

DEFAULT_LENGTH: Final = 32
"""Characters of ``version_num`` in a version table that Alembic creates."""

_PLACEHOLDER: Final = "driver"  # `alembic init` writes driver://user:pass@localhost/dbname

HEADS: Final = ("heads",)
"""The target that means: every head there is, asked for explicitly."""

BY_NATURE: Final = frozenset(
    {
        "no-revisions",
        "no-env",
        "unreadable-revision",
        "duplicate-revision",
        "missing-revision",
        "cycle",
        "several-heads",
        "unknown-target",
        "unknown-revision",
        "identifier-too-long",
        "wrong-database",
        "version-tables",
        "target-behind",
    }
)
"""Rules that no policy and nobody may overrule: with these findings there is nothing that could be run."""


@dataclass(frozen=True)
class Preflight:
    """What is known before a migration.

    :param current: the database's revision set, as its version table holds it
    :param target: the revision set afterwards; empty when it cannot be told
    :param plan: the pending steps in their order; empty when it cannot be told, or nothing is pending
    :param states: the revision set before the first step and after each, in normal form
    """

    identity: DatabaseIdentity
    table: VersionTable | None
    heads: tuple[str, ...]
    branches: tuple[tuple[str, str], ...]
    current: frozenset[str]
    target: frozenset[str]
    plan: tuple[Step, ...]
    states: tuple[frozenset[str], ...]
    findings: tuple[Finding, ...]


def examine(
    tree: Tree,
    found: Inspection,
    state: DatabaseState,
    *,
    database: Database,
    backup: DatabaseIdentity | None,
    target: tuple[str, ...] = (),
) -> Preflight:
    """Everything that is wrong, and the plan where there is one.

    :param backup: identity of the database that the backup holds; None where there is no backup (a rehearsal)
    :param target: revisions to reach; none means the one head there has to be, ``HEADS`` every head
    """
    graph = Graph(found.revisions)
    table = the_table(tree, state)
    current = table.revisions if table else frozenset()
    findings = [
        *_database(state, backup),
        *_url(tree, found, database),
        *_version_tables(tree, state),
        *_files(found, graph),
        *_identifiers(graph, table),
    ]
    plan: tuple[Step, ...] = ()
    states: tuple[frozenset[str], ...] = ()
    if graph.sound and not found.unreadable:
        findings += [*_target(graph, target), *_current(tree, graph, current)]
        if not any(one.rule in BY_NATURE for one in findings):
            plan = graph.upgrade(current, target if target not in ((), HEADS) else graph.heads)
            states = graph.states(current, plan)
            findings += _behind(graph, target, states[-1])
    return Preflight(
        state.identity,
        table,
        graph.heads,
        tuple(sorted(graph.branches.items())),
        current,
        states[-1] if states else frozenset(),
        plan,
        states,
        tuple(findings),
    )


def the_table(tree: Tree, state: DatabaseState) -> VersionTable | None:
    """The version table that the tree uses, None where the database has none yet."""
    return next((one for one in state.tables if _is_ours(tree, one)), None)


def not_recorded(tree: Tree, state: DatabaseState) -> MigrationRefused | None:
    """Whether several tables could be the tree's: then nobody may say where the database stands."""
    return next((MigrationRefused(one.what, remedy=one.remedy) for one in _version_tables(tree, state)), None)


def _is_ours(tree: Tree, table: VersionTable) -> bool:
    return table.name == tree.version_table and tree.version_schema in ("", table.schema)


def _block(rule: str, what: str, remedy: str, *, file: str = "", line: int = 0, revision: str = "") -> Finding:
    severity: Severity = "block"
    return Finding(rule, severity, what, remedy, file, line, revision)


def _database(state: DatabaseState, backup: DatabaseIdentity | None) -> Iterator[Finding]:
    if backup is not None and backup != state.identity:
        yield _block(
            "wrong-database",
            f"the backup holds {backup.shown}, the connection leads to {state.identity.shown}",
            "back up the database that will be migrated, or mend the connection",
        )


def _url(tree: Tree, found: Inspection, database: Database) -> Iterator[Finding]:
    url = found.url
    file = str(tree.config or "")
    if url is None or url.unreadable or url.driver == _PLACEHOLDER:
        return
    points = (url.host or "", url.port or 5432, url.database or "")
    if points != (database.host, database.port, database.name):
        yield _block(
            "url-elsewhere",
            f"it points at {url.shown}, the connection at {database.host}:{database.port}/{database.name}",
            "take sqlalchemy.url out of it: the URL is given, and a connection elsewhere is refused anyway",
            file=file,
        )


def _version_tables(tree: Tree, state: DatabaseState) -> Iterator[Finding]:
    ours = [one for one in state.tables if _is_ours(tree, one)]
    if len(ours) > 1:
        yield _block(
            "version-tables",
            f"several schemas have a table {tree.version_table}: {', '.join(one.schema for one in ours)}",
            "name the schema of the tree's own one (version_schema)",
        )
    for one in ours:
        if not one.readable:
            yield _block(
                "version-tables",
                f"{one.schema}.{one.name} cannot be read with this role",
                "give the role that migrates SELECT on it, and USAGE on its schema",
            )


def _files(found: Inspection, graph: Graph) -> Iterator[Finding]:
    if not found.env:
        yield _block("no-env", "the tree has no env.py", "point script_location at the folder that has it")
    if not found.revisions and not found.unreadable:
        yield _block("no-revisions", "the tree has no revisions", "point script_location at the right folder")
    for one in found.unreadable:
        yield _block(
            "unreadable-revision",
            f"cannot be imported: {one.why}",
            "mend it, or the environment it is imported in",
            file=one.file,
            line=one.line,
        )
    for name, files in graph.duplicates.items():
        yield _block(
            "duplicate-revision",
            f"{name} names more than one revision: {', '.join(files)}",
            "give each its own name",
            file=files[-1],
            revision=name,
        )
    for revision, missing in graph.missing:
        yield _block(
            "missing-revision",
            f"{revision.name} needs {missing}, which is in no readable file",
            "bring the file, or mend the reference",
            file=revision.file,
            revision=revision.name,
        )
    for group in graph.cycles:
        yield _block(
            "cycle",
            f"these revisions come before themselves: {', '.join(group)}",
            "mend their down_revision or depends_on",
            file=next(one.file for one in graph.revisions if one.name in group),
        )


def _identifiers(graph: Graph, table: VersionTable | None) -> Iterator[Finding]:
    length = table.length if table else DEFAULT_LENGTH
    for one in graph.revisions:
        if length is not None and len(one.name) > length:
            yield _block(
                "identifier-too-long",
                f"the name has {len(one.name)} characters, version_num takes {length}",
                "shorten it before it is released, or widen the column",
                file=one.file,
                revision=one.name,
            )


def _target(graph: Graph, target: tuple[str, ...]) -> Iterator[Finding]:
    if not target and len(graph.heads) > 1:
        yield _block(
            "several-heads",
            f"the tree has {len(graph.heads)} heads: {', '.join(graph.heads)}",
            "merge them (alembic merge), or name the target revisions explicitly",
        )
    for name in target if target != HEADS else ():
        if name not in graph.by_name:
            yield _block("unknown-target", f"the target {name} is not in the tree", "name one of its revisions")


def _current(tree: Tree, graph: Graph, current: frozenset[str]) -> Iterator[Finding]:
    for name in sorted(current - graph.by_name.keys()):
        yield _block(
            "unknown-revision",
            f"the database is at {name}, which the tree does not know",
            f"deploy from a tree that has it; {tree.folder} is older, or of another branch",
            revision=name,
        )


def _behind(graph: Graph, target: tuple[str, ...], end: frozenset[str]) -> Iterator[Finding]:
    wanted = target if target not in ((), HEADS) else graph.heads
    beyond = graph.closure(end) - graph.closure(wanted)
    if beyond:
        yield _block(
            "target-behind",
            f"the database already has what the target does not: {', '.join(sorted(beyond))}",
            "name the target that is meant; going back is an operation of its own",
        )
