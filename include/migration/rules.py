"""What the old version still needs, and what holds locks: rules over the pending SQL. Pure.

The old version runs while the schema changes and must go on running on the result (DESIGN, invariant 4): nothing
it reads or writes may go, and no lock may be held for as long as a table takes to be read. Tables that the same
migration creates are unknown to the old version and empty: they may be treated in any way. What takes which lock,
and what rewrites a table: PostgreSQL manual, ALTER TABLE, CREATE INDEX, "Explicit Locking".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from include.database.schema import Schema
from include.migration.dead_client import SETTINGS
from include.migration.finding import Finding
from include.migration.foreign import Foreign
from include.migration.job import Limits
from include.migration.made import Made
from include.migration.operation import AS_WHOM, Operation
from include.migration.operations import operations
from include.migration.repeating import Again, again
from include.migration.rulebook import BEYOND, RULES
from include.migration.sqltext import Statement, statements
from include.migration.tree import Rendered
from include.migration.unseen import outside_after

_SHOWN: Final = 160

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
    "switch-trigger": "trigger",
    "create-rule": "rewrite-rule",
    "drop-constraint": "drop-constraint",
    "generated-always": "generated-always",
    "owner": "owner",
    "row-security": "row-security",
    "replace": "replace",
    "enum-value": "enum-value",
    "outside-database": "outside-database",
    "revoke": "revoke",
    "unknown": "not-read",
}


def lint(
    forward: Iterable[Rendered], backward: Iterable[Rendered] = (), *, before: Schema | None = None
) -> tuple[Finding, ...]:
    """The findings of the own rules over everything that is pending, in its order.

    :param backward: the way down, of which only that counts which is about others than the database (a rehearsal
        goes down, too) or which no retry of a stopped way down comes past; what it takes away is stated elsewhere
    :param before: the schema that they meet; None where foreign tables play no part
    """
    made, foreign = Made(), Foreign(before)
    found: list[Finding] = []
    for one in forward:
        found += _Revision(one, made, foreign).findings()
    down = [each for one in backward for each in _Revision(one, made, foreign).findings()]
    found += [each for each in down if each.rule in BEYOND]
    return (*found, *(_of_way_back(each) for each in down if each.rule in _ONCE))


def _of_way_back(found: Finding) -> Finding:
    rule = RULES["way-back-not-repeatable"]
    return replace(
        found, rule="way-back-not-repeatable", severity=rule.severity, what=rule.what, remedy=rule.remedy
    )


@dataclass
class _Revision:
    """One revision while it is read.

    :param made: what this migration has made so far
    :param foreign: tables on other servers
    """

    rendered: Rendered
    made: Made
    foreign: Foreign
    outside: bool = field(default=False)

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        inside, committed = 0, False
        for sql, line in self.rendered.statements:
            for statement in statements(sql, line):
                done = operations(statement)
                if done[0].kind == "transaction":
                    self.outside = outside_after(done[0].object, before=self.outside)
                    committed = committed or self.outside
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
        ours, found = self.made.table(operation), self._of_kind(operation)
        beyond = ["foreign-table"] if self.foreign.written(operation) else []
        self.made.note(operation)
        self.foreign.note(operation)
        # Nobody else knows what this migration has made.
        found = [] if ours and operation.kind != "unknown" else found
        return [*found, *beyond, *self._transaction(operation)]

    def _of_kind(self, operation: Operation) -> list[str]:
        if rule := _PLAIN.get(operation.kind):
            return [rule]
        if operation.kind == "attach-partition":
            return ["new-partition" if self.made.named(operation.object) else "attach-partition"]
        if operation.kind == "create-table":
            return ["new-partition"] if operation.object and not self.made.named(operation.object) else []
        chosen = _CHOOSE.get(operation.kind)
        return chosen(operation) if chosen else []

    def _transaction(self, operation: Operation) -> list[str]:
        if self.outside:
            return list(_OUTSIDE[again(operation)])
        concurrently = "concurrently" in operation.flags and operation.kind != "refresh"
        inside = operation.kind != "outside-transaction" and not concurrently
        return [] if inside else ["concurrently-in-transaction"]

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


def _setting(name: str) -> list[str]:
    return ["session-setting"] if name in GUARDS else ["session-role"] if name in AS_WHOM else []


_CHOOSE: Final[Mapping[str, Callable[[Operation], list[str]]]] = {
    "add-column": _add_column,
    "add-constraint": _add_constraint,
    "create-index": _create_index,
    "update-rows": lambda operation: ["backfill"] if "all" in operation.flags else [],
    "reindex": lambda operation: [] if "concurrently" in operation.flags else ["index-not-concurrent"],
    "refresh": lambda operation: [] if "concurrently" in operation.flags else ["lock-table"],
    "setting": lambda operation: _setting(operation.object),
    "outside-transaction": lambda operation: ["full-rewrite"] if "rewrite" in operation.flags else [],
}

_ONCE: Final = frozenset({"non-transactional-mixed", "not-repeatable"})

_OUTSIDE: Final[Mapping[Again, tuple[str, ...]]] = {
    "nothing": (),
    "resumed": ("non-transactional",),
    "twice": ("not-repeatable",),
    "stuck": ("non-transactional-mixed",),
}
