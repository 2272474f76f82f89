"""What the old version still needs, and what holds locks: rules over the pending SQL. Pure.

The old version runs while the schema changes and must go on running on the result (DESIGN, invariant 4): nothing
it reads or writes may go, and no lock may be held for as long as a table takes to be read. Tables that the same
migration creates are unknown to the old version and empty: they may be treated in any way. What takes which lock,
and what rewrites a table: PostgreSQL manual, ALTER TABLE, CREATE INDEX, "Explicit Locking".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from include.migration.dead_client import SETTINGS
from include.migration.finding import Finding, Severity
from include.migration.job import Limits
from include.migration.made import Made
from include.migration.operation import Operation
from include.migration.operations import operations
from include.migration.sqltext import Statement, statements
from include.migration.tree import Rendered

_SHOWN: Final = 160


@dataclass(frozen=True)
class Rule:
    """Why an operation is a problem.

    :param severity: what it means where an environment's policy says nothing else
    """

    severity: Severity
    what: str
    remedy: str


_LATER = "expand now, contract in a release in which no running version needs it any more"

RULES: Final[Mapping[str, Rule]] = {
    "drop-column": Rule("block", "drops a column that the old version still reads", _LATER),
    "drop-table": Rule("block", "takes a table away that the old version still uses", _LATER),
    "drop-other": Rule("block", "drops something that the old version may still use", _LATER),
    "rename": Rule(
        "block", "renames what the old version knows by its old name", f"add the new one beside it; {_LATER}"
    ),
    "type-change": Rule(
        "block",
        "changes a type: the old version may not read it, and the table may be rewritten under an exclusive lock",
        "add a column of the new type, keep both filled, contract later",
    ),
    "not-null-without-default": Rule(
        "block",
        "adds a column that must be given, and the old version does not know it: its INSERTs fail",
        "give it a DEFAULT, or let it be nullable until the old version is gone",
    ),
    "set-not-null": Rule(
        "block",
        "forbids NULL where the old version may write it, and reads the whole table under an exclusive lock",
        "add CHECK (… IS NOT NULL) NOT VALID, validate it, and set NOT NULL when the old version is gone",
    ),
    "drop-default": Rule(
        "block", "takes a default away that the old version's INSERTs may rely on", "keep it until it is gone"
    ),
    "data-loss": Rule("block", "deletes rows that the old version may still show", _LATER),
    "index-not-concurrent": Rule(
        "block",
        "builds an index while nobody can write to the table",
        "CREATE INDEX CONCURRENTLY in an autocommit_block, in a revision of its own",
    ),
    "drop-index": Rule(
        "warn", "drops an index: the old version's queries may need it", "be sure of it; DROP INDEX CONCURRENTLY"
    ),
    "constraint-not-valid": Rule(
        "block",
        "checks every row of the table while nobody can write to it",
        "add it NOT VALID, and VALIDATE CONSTRAINT in a later revision",
    ),
    "constraint-index": Rule(
        "block",
        "builds a constraint's index while nobody can use the table",
        "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT … USING INDEX",
    ),
    "new-constraint": Rule(
        "warn",
        "forbids something that the old version may write",
        "be sure that the old version never does; the rehearsal with its smoke suite is the proof",
    ),
    "full-rewrite": Rule(
        "block",
        "rewrites the whole table under an exclusive lock",
        "add the column without it, and fill it in batches",
    ),
    "lock-table": Rule("block", "locks a whole table", "leave it to the statements to lock what they need"),
    "backfill": Rule(
        "warn",
        "changes every row in one transaction: its locks and dead rows stay until the end",
        "do it in batches, in a revision of its own",
    ),
    "trigger": Rule("warn", "lets a trigger run on what the old version writes", "be sure that it suits it"),
    "replace": Rule("warn", "replaces something that the old version may call", "keep its signature and meaning"),
    "enum-value": Rule("warn", "adds a value that the old version may read and not know", "write it only later"),
    "outside-database": Rule(
        "block",
        "changes the server beside this database: a rehearsal would do it to everybody, before anybody decides",
        "take it out of the revisions and do it by itself, where roles, databases and settings are administered",
    ),
    "session-setting": Rule(
        "block",
        "changes what guards the migration: its timeouts, its name, how the server notices that it has died",
        "leave it out: the environment says how long it may wait and work (`limits`)",
    ),
    "revoke": Rule("warn", "takes a right away that the old version may need", "do it when it is gone"),
    "concurrently-in-transaction": Rule(
        "block",
        "cannot run inside a transaction, and nothing here ends it: it will fail",
        "put it into `with op.get_context().autocommit_block():`",
    ),
    "non-transactional": Rule(
        "warn",
        "runs outside of a transaction: stopped half-way it leaves something behind (an invalid index)",
        "nothing: the retry drops an invalid index and begins again",
    ),
    "non-transactional-mixed": Rule(
        "block",
        "commits in the middle of a revision: stopped after that, it can neither be repeated nor taken back",
        "put what is not transactional into a revision of its own",
    ),
    "not-read": Rule(
        "unknown", "is not understood by these rules", "read it by hand; the rehearsal shows its locks"
    ),
    "not-rendered": Rule(
        "unknown", "cannot be shown as SQL without a database", "read it by hand; the rehearsal shows what it does"
    ),
}
"""Name → rule."""

NEVER_ACCEPTED: Final = frozenset({"concurrently-in-transaction", "non-transactional-mixed", "outside-database"})
"""Rules that are no judgement: what they find fails, cannot be repeated, or happens in the rehearsal already."""

GUARDS: Final = frozenset(Limits().settings) | frozenset(SETTINGS) | {"application_name", "all"}
"""Settings of the migrating session that no revision may change, as ``SET`` and ``RESET`` name them."""

_PLAIN: Final[Mapping[str, str]] = {
    "drop-column": "drop-column",
    "drop-table": "drop-table",
    "drop-other": "drop-other",
    "rename": "rename",
    "type-change": "type-change",
    "set-not-null": "set-not-null",
    "drop-default": "drop-default",
    "drop-index": "drop-index",
    "empty-table": "data-loss",
    "delete-rows": "data-loss",
    "lock-table": "lock-table",
    "rewrite": "full-rewrite",
    "create-trigger": "trigger",
    "replace": "replace",
    "enum-value": "enum-value",
    "outside-database": "outside-database",
    "revoke": "revoke",
    "unknown": "not-read",
}


def lint(revisions: Iterable[Rendered]) -> tuple[Finding, ...]:
    """The findings of the own rules over everything that is pending, in its order."""
    made = Made()
    found: list[Finding] = []
    for one in revisions:
        found += _Revision(one, made).findings()
    return tuple(found)


@dataclass
class _Revision:
    """One revision while it is read.

    :param made: what this migration has made so far
    """

    rendered: Rendered
    made: Made
    outside: bool = field(default=False)

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        inside, committed = 0, False
        for sql, line in self.rendered.statements:
            for statement in statements(sql, line):
                done = operations(statement)
                if done[0].kind == "transaction":
                    committed = committed or done[0].object == "COMMIT"
                    self.outside = done[0].object == "COMMIT"
                    continue
                inside += not self.outside
                for operation in done:
                    found += [self._finding(rule, statement) for rule in self._rules(operation)]
        if committed and inside:
            found.append(self._finding("non-transactional-mixed", None))
        if self.rendered.why:
            found.append(self._finding("not-rendered", None, self.rendered.why, self.rendered.line))
        return found

    def _rules(self, operation: Operation) -> list[str]:
        ours = self.made.table(operation)
        self.made.note(operation)
        # An index is dropped by its own name, which says nothing of its table.
        if ours and operation.kind != "unknown":
            return []
        if rule := _PLAIN.get(operation.kind):
            return [rule, *self._transaction(operation)]
        chosen = _CHOOSE.get(operation.kind)
        return [*(chosen(operation) if chosen else ()), *self._transaction(operation)]

    def _transaction(self, operation: Operation) -> list[str]:
        if operation.kind == "outside-transaction" or "concurrently" in operation.flags:
            if operation.kind == "refresh":
                return []
            return ["non-transactional" if self.outside else "concurrently-in-transaction"]
        return []

    def _finding(self, name: str, statement: Statement | None, why: str = "", line: int = 0) -> Finding:
        rule = RULES[name]
        return Finding(
            name,
            rule.severity,
            f"{rule.what}: {why.splitlines()[0]}" if why else rule.what,
            rule.remedy,
            self.rendered.file,
            statement.line if statement else line,
            self.rendered.revision,
            statement.shown[:_SHOWN] if statement else "",
        )


def _add_column(operation: Operation) -> list[str]:
    flags, found = operation.flags, []
    if "not-null" in flags and "default" not in flags:
        found.append("not-null-without-default")
    if "rewrite" in flags:
        found.append("full-rewrite")
    if "checked" in flags:
        found.append("constraint-not-valid")
    if "unique" in flags:
        found.append("constraint-index")
    return found


def _add_constraint(operation: Operation) -> list[str]:
    flags = operation.flags
    if "index" in flags:
        return ["new-constraint"] if "using-index" in flags else ["constraint-index", "new-constraint"]
    return ["new-constraint"] if "not-valid" in flags else ["constraint-not-valid", "new-constraint"]


def _create_index(operation: Operation) -> list[str]:
    found = [] if "concurrently" in operation.flags else ["index-not-concurrent"]
    return [*found, "new-constraint"] if "unique" in operation.flags else found


_CHOOSE: Final[Mapping[str, Callable[[Operation], list[str]]]] = {
    "add-column": _add_column,
    "add-constraint": _add_constraint,
    "create-index": _create_index,
    "update-rows": lambda operation: ["backfill"] if "all" in operation.flags else [],
    "reindex": lambda operation: [] if "concurrently" in operation.flags else ["index-not-concurrent"],
    "refresh": lambda operation: [] if "concurrently" in operation.flags else ["lock-table"],
    "setting": lambda operation: ["session-setting"] if operation.object in GUARDS else [],
    "outside-transaction": lambda operation: ["full-rewrite"] if "rewrite" in operation.flags else [],
}
