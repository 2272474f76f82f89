"""The way back: down to the recorded revision set, and what that destroys, said before and confirmed by somebody.

The tree is the new version's: only it knows the revisions that have to go. What a statement would destroy is read
from the downgrade's own SQL; rows are counted when the question is asked and again before it is done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from include.database.confirmation import LossConfirmation
from include.database.facts import DatabaseIdentity
from include.errors import LossNotConfirmed, MigrationRefused
from include.migration.made import Made
from include.migration.operation import AS_WHOM, Operation
from include.migration.operations import operations
from include.migration.sqltext import statements
from include.migration.state import shown
from include.migration.tree import Rendered, Step

HEADROOM: Final = 0.1
"""Users go on working between the question and the deed: rows may grow by this share before it is asked again."""

_TABLES: Final = {
    "drop-table": "table",
    "empty-table": "emptied",
    "delete-rows": "deleted",
    "insert-rows": "inserted",
}
_COLUMNS: Final = frozenset({"drop-column", "type-change"})
_NUMBER: Final = re.compile(r"\b\d[\w.]*")
_MEANT: Final = AS_WHOM | {"search_path", "schema"}
_NOTHING: Final = frozenset(
    {
        *("add-column", "add-constraint", "create-index", "create-other", "create-rule", "create-table"),
        *("create-trigger", "drop-constraint", "drop-default", "drop-index", "drop-other", "enum-value"),
        *("attach-partition", "generated-always", "harmless", "lock-table", "outside-transaction"),
        *("owner", "reindex", "refresh", "rename", "replace", "revoke", "rewrite", "row-security", "set-not-null"),
        *("setting", "switch-trigger", "transaction"),
    }
)
"""Operations that take no data away; what is not named anywhere here may take any."""


@dataclass(frozen=True)
class Loss:
    """One thing that goes.

    :param kind: ``table``, ``emptied``, ``deleted`` (rows of it), ``column``, ``overwritten`` (a column's values;
        rows where none is named), ``other`` (what cannot be counted), ``unknown`` (what could not be read).
        ``inserted`` is none, and stands for what added rows set off (:mod:`include.migration.counting`)
    :param place: the revision and the statement, or why it could not be read
    :param rows: rows, or values that are not NULL; None where that cannot be counted
    """

    kind: str
    table: str
    column: str
    place: str
    rows: int | None = None

    @property
    def at_most(self) -> int | None:
        """What is confirmed: the rows of today and some more, in round numbers."""
        return None if self.rows is None else _round_up(self.rows + int(self.rows * HEADROOM))

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What it is, whatever it holds. Numbers in a statement may be others each time: a clock, an address."""
        revision, colon, statement = self.place.partition(": ")
        return self.kind, self.table, self.column, revision + colon + _NUMBER.sub("…", statement)

    def __str__(self) -> str:
        what = f"{self.table}.{self.column}" if self.column else self.table
        if self.kind in ("other", "unknown"):
            return f"{self.place}: what it takes away is not counted"
        many = "an unknown number of" if self.rows is None else f"{self.rows} (confirmed up to {self.at_most})"
        overwritten = ", overwritten" if self.kind == "overwritten" else ""
        return f"{many} {'values' if self.column else 'rows'} of {what}{overwritten} ({self.place})"


@dataclass(frozen=True)
class WayBackLoss:
    """What going back destroys; shown to a human, who confirms exactly this.

    :param current: revision set to leave
    :param recorded: revision set to reach
    """

    identity: DatabaseIdentity
    current: frozenset[str]
    recorded: frozenset[str]
    losses: tuple[Loss, ...]

    @property
    def destructive(self) -> bool:
        """Whether anything goes."""
        return bool(self.losses)

    @property
    def digest(self) -> str:
        """What a confirmation is bound to: the database, both sets, every loss and how much of it."""
        facts = {
            "system": self.identity.system_identifier,
            "database": self.identity.name,
            "from": sorted(self.current),
            "to": sorted(self.recorded),
            "losses": [[*one.name, one.at_most] for one in self.losses],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """For the ledger and for the human who is asked; ``from_record`` reads it again."""
        return {
            "system": self.identity.system_identifier,
            "database": self.identity.name,
            "current": sorted(self.current),
            "recorded": sorted(self.recorded),
            "losses": [[one.kind, one.table, one.column, one.place, one.rows] for one in self.losses],
            "digest": self.digest,
            "text": str(self),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> WayBackLoss:
        """The statement that was recorded."""
        return cls(
            DatabaseIdentity(system_identifier=record["system"], name=record["database"]),
            frozenset(record["current"]),
            frozenset(record["recorded"]),
            tuple(Loss(kind, table, column, place, rows) for kind, table, column, place, rows in record["losses"]),
        )

    def __str__(self) -> str:
        head = f"{self.identity.shown} goes from {shown(self.current)} down to {shown(self.recorded)}"
        return head + ("; lost: " + "; ".join(map(str, self.losses)) if self.losses else "; nothing is lost")


def losses(rendered: Iterable[Rendered]) -> tuple[Loss, ...]:
    """What the SQL of a downgrade takes away; tables and columns that it has made itself do not count."""
    found: list[Loss] = []
    made = Made()
    for one in rendered:
        for text, _ in one.statements:
            for statement in statements(text):
                for operation in operations(statement):
                    place = f"{one.revision}: {statement.shown[:160]}"
                    ours = made.column(operation) and operation.kind != "unknown"
                    found += _more(operation, place) if ours else _losses(operation, place)
                    made.note(operation)
        if one.why:
            found.append(Loss("unknown", "", "", f"{one.revision} in {one.file}: {one.why.splitlines()[0]}"))
    return tuple(dict.fromkeys(found))


def refuse_unknown_way(rendered: Iterable[Rendered], forward: Iterable[Rendered]) -> MigrationRefused | None:
    """Whether a downgrade does nothing where its upgrade did something: then there is no way back by it.

    :param forward: the same revisions as SQL of their upgrades
    """
    did = {one.revision for one in forward if one.statements}
    idle = [one for one in rendered if not one.statements and not one.why and one.revision in did]
    if not idle:
        return None
    return MigrationRefused(
        "there is no way down: these revisions take nothing back",
        expected="a downgrade() that undoes its upgrade()",
        seen=", ".join(f"{one.revision} ({one.file})" for one in idle),
        remedy="keep the schema, or restore the backup",
    )


def confirmed(
    asked: WayBackLoss, confirmation: LossConfirmation | None, now: WayBackLoss
) -> LossNotConfirmed | None:
    """Whether what is destroyed now is covered by what somebody has confirmed; None when it is.

    Where nothing is destroyed somebody has to have said yes all the same: a schema goes back by a human's word.

    :param asked: the statement that was shown
    :param now: the statement as it is now
    """
    if confirmation is None or not confirmation.signed:
        return _refused(now, "nobody has confirmed it")
    if confirmation.digest != asked.digest:
        return _refused(now, f"{confirmation.by} has confirmed another statement")
    if (asked.identity, asked.current, asked.recorded) != (now.identity, now.current, now.recorded):
        return _refused(now, f"{confirmation.by} has confirmed another way: {asked}")
    allowed = {one.name: one for one in asked.losses}
    for one in now.losses:
        known = allowed.get(one.name)
        if known is None or not _covers(known, one):
            return _refused(now, f"more than what {confirmation.by} has confirmed: {one}")
    return None


def reverse(plan: Iterable[Step]) -> tuple[Step, ...]:
    """The same revisions in the other direction, from the last to the first."""
    return tuple(Step(one.revision, up=not one.up) for one in reversed(tuple(plan)))


def _covers(asked: Loss, now: Loss) -> bool:
    if asked.at_most is None or now.rows is None:
        return asked.at_most is None and now.rows is None
    return now.rows <= asked.at_most


def _refused(now: WayBackLoss, seen: str) -> LossNotConfirmed:
    return LossNotConfirmed(
        "going back destroys data" if now.destructive else "going back is a human's decision",
        expected=f"a confirmation of {now.digest[:16]}: {now}",
        seen=seen,
        remedy="show the statement to the on-call lead and have it confirmed; nothing was touched",
    )


def _losses(operation: Operation, place: str) -> list[Loss]:
    kind, table, column = operation.kind, operation.table, operation.object
    if kind in _TABLES:
        return [Loss(_TABLES[kind], table, "", place), *_more(operation, place)]
    if kind in _COLUMNS:
        return [Loss("column", table, column, place), *_more(operation, place)]
    if kind == "setting" and column in _MEANT:
        return [Loss("unknown", "", "", place)]  # what is meant after it, and what goes with it, nobody counts
    if kind == "update-rows":
        return [Loss("overwritten", table, column, place)]
    return _more(operation, place) if kind in _NOTHING else [Loss("unknown", "", "", place)]


def _more(operation: Operation, place: str) -> list[Loss]:
    """What goes beside what a statement names."""
    return [Loss("other", "", "", place)] if operation.flags & {"cascade", "data"} else []


def _round_up(number: int) -> int:
    """To two significant digits: 1364 → 1400."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // step) * step
