"""One migration as it was decided: what runs, from where to where, within which limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from include.database.facts import DatabaseIdentity
from include.database.schema import Schema
from include.errors import MigrationRefused
from include.migration.activity import Backend, Blocker
from include.migration.graph import Graph
from include.migration.operations import operations
from include.migration.sqltext import statements
from include.migration.state import Declared, shown
from include.migration.tree import Rendered, Step, Tree

LOCK: Final = "migration"
"""Name of the advisory lock that lets one migration at a time into a database (``include.database.session``)."""


@dataclass(frozen=True)
class Limits:
    """How long a migration may wait and work. All times in seconds.

    :param lock: the longest wait for a lock; users wait behind it for as long
    :param statement: the longest statement, and the longest silence inside a transaction
    :param attempts: how often locks that were not to be had are tried for
    :param pause: before the second attempt; doubled before each further one, up to ``longest_pause``
    :param poll: between two looks at the server
    """

    lock: float = 5.0
    statement: float = 600.0
    attempts: int = 6
    pause: float = 2.0
    longest_pause: float = 60.0
    poll: float = 1.0

    def pause_after(self, attempt: int) -> float:
        """Seconds to wait after the ``attempt``-th one, counted from 1."""
        return float(min(self.longest_pause, self.pause * 2 ** (attempt - 1)))

    @property
    def settings(self) -> dict[str, str]:
        """As the server's settings of the migrating session."""
        return {
            "lock_timeout": f"{self.lock * 1000:.0f}",
            "statement_timeout": f"{self.statement * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{self.statement * 1000:.0f}",
        }

    @property
    def options(self) -> str:
        """As libpq's ``options``, for connections that somebody else makes; ``RESET`` goes back to them."""
        return " ".join(f"-c {name}={value}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Job:
    """What was decided, for ``Migration``; the same for every try of a task.

    :param key: of the run; a later try with the same key ends what an earlier one has left behind
    :param identity: of the one database in which it may run
    :param states: the revision set before the first step and after each, in normal form
    :param before: the schema when this was decided; None where it is not known
    :param expected: the schema afterwards, as the rehearsal left it; None when there was none
    :param concurrent: revision and name of each index that a revision builds outside of a transaction: what a
        stopped build has left of it is removed before the next try
    """

    key: str
    tree: Tree
    graph: Graph
    identity: DatabaseIdentity
    plan: tuple[Step, ...]
    states: tuple[frozenset[str], ...]
    before: Schema | None = None
    expected: Schema | None = None
    concurrent: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)

    def position(self, rows: Iterable[str]) -> int | None:
        """How many steps are done when the version table holds these rows; None when it is on no way."""
        try:
            normal = self.graph.normal(rows)
        except MigrationRefused:
            return None
        return self.states.index(normal) if normal in self.states else None

    def leftovers(self, position: int) -> frozenset[str]:
        """Names of indexes that a stopped build of a step that is not done may have left."""
        waiting = {step.revision for step in self.plan[position:]}
        return frozenset(name for revision, name in self.concurrent if revision in waiting)

    def declare(self, rows: frozenset[str], seen: Schema | None) -> Declared:
        """Where the database stands."""
        position, up = self.position(rows), all(step.up for step in self.plan)
        if position is None:
            return Declared("elsewhere", rows, up=up)
        if position == len(self.plan):
            return Declared("target", rows, up=up)
        if position:
            return Declared("between", rows, up=up)
        differences = self.before.differences(seen) if self.before and seen else ()
        return Declared("altered" if differences else "old", rows, differences, up)

    def refuse_elsewhere(self, rows: frozenset[str]) -> MigrationRefused:
        """The error for a revision set that is on no way from the one end to the other."""
        return MigrationRefused(
            f"the database is at {shown(rows)}, which is on no way of this migration",
            expected=" or ".join(dict.fromkeys(shown(one) for one in self.states)),
            remedy="somebody else has changed it: begin again with the preflight",
        )


@dataclass(frozen=True)
class Progress:
    """What a migration does at this moment.

    :param revision: "" while none has begun
    """

    revision: str
    backends: tuple[Backend, ...]
    blockers: tuple[Blocker, ...]

    @property
    def shown(self) -> str:
        """One line for the log."""
        doing = "; ".join(
            f"pid {one.pid} {one.state}{f', waits for {one.waits_for}' if one.waits_for else ''}"
            f" since {one.seconds:.0f} s: {' '.join(one.statement.split())[:160]}"
            for one in self.backends
        )
        blocked = "; ".join(one.shown for one in self.blockers)
        return f"revision {self.revision or '(none yet)'}: {doing or 'no statement'}" + (
            f"; BLOCKED BY {blocked}" if blocked else ""
        )


@dataclass(frozen=True)
class Outcome:
    """How a migration ended well.

    :param schema: as it is now
    :param attempts: 0 when there was nothing to do any more
    :param timings: revision → seconds
    :param blockers: who was seen to block it, each once
    """

    state: Declared
    schema: Schema
    attempts: int
    timings: Mapping[str, float]
    blockers: tuple[Blocker, ...]

    def record(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "state": self.state.word,
            "revisions": sorted(self.state.revisions),
            "fingerprint": self.schema.fingerprint,
            "attempts": self.attempts,
            "timings": dict(self.timings),
            "blockers": [one.who for one in self.blockers],
        }


def concurrent_indexes(revisions: Iterable[Rendered]) -> tuple[tuple[str, str], ...]:
    """Revision and name of each index that is built outside of a transaction."""
    return tuple(
        (one.revision, operation.object)
        for one in revisions
        for sql, _ in one.statements
        for statement in statements(sql)
        for operation in operations(statement)
        if operation.kind == "create-index" and "concurrently" in operation.flags and operation.object
    )
