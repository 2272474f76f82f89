"""What a database holds, as one frozen value, and in which ways two of them differ. Nothing here asks a server.

The same things answer two questions: whether a restored copy is what was backed up (:func:`compare`: everything
that an archive holds, with owners, privileges and rows), and which schema a migration finds and leaves
(:func:`schema_of`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from include.database.schema import Schema, changes

LARGE_OBJECTS: Final = "(large objects)"
"""Under this name the large objects are counted like the rows of a table."""

_PRIVILEGES: Final = "privileges"
_EXTENSION: Final = "extension"
_SHOWN: Final = 160


class Thing(BaseModel):
    """Something that the database's definition is made of.

    :param kind: ``schema``, ``table``, ``partition``, ``column``, ``constraint``, ``index``, ``sequence`` …
    :param name: qualified and quoted as SQL does it
    :param definition: everything about it that must be the same after a restore, but for its owner
    :param owner: empty for what has none of its own
    :param relation: the table, view or composite type that it is, or is a part of; empty for other things
    :param entry: catalogue and object number, by which an archive's table of contents names it; None when it is
        no entry of its own there
    :param dumped: whether an archive holds it, so that a restored copy has it too
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    definition: str
    owner: str = ""
    relation: str = ""
    entry: tuple[int, int] | None = None
    dumped: bool = True


class Inventory(BaseModel):
    """What a database holds at one moment.

    :param things: sorted by kind and name
    :param sequences: sequence → its last value; None when it was never used
    :param rows: table → number of rows; None when it was not counted (UNKNOWN, not zero)
    :param data: numbers of the tables whose rows an archive must hold
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: tuple[Thing, ...]
    sequences: Mapping[str, int | None]
    rows: Mapping[str, int | None]
    data: tuple[int, ...] = ()

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all things of that kind."""
        return tuple(thing.name for thing in self.things if thing.kind == kind)


def schema_of(things: Iterable[Thing], invalid: Iterable[str] = ()) -> Schema:
    """The schema that these things are.

    :param invalid: see :class:`include.database.schema.Schema`
    """
    known = tuple(things)
    without = _version_tables(known)
    kept = (thing for thing in known if thing.kind != _PRIVILEGES and thing.relation not in without)
    return Schema({f"{thing.kind} {thing.name}": _copied(thing) for thing in kept}, tuple(invalid))


def _copied(thing: Thing) -> str:
    """The definition as far as a copy has it from an archive, which names an extension without its version."""
    return "" if thing.kind == _EXTENSION else thing.definition


def _version_tables(things: tuple[Thing, ...]) -> set[str]:
    """Alembic's: those whose only column is ``version_num`` (see :mod:`include.database.revisions`)."""
    columns: dict[str, list[str]] = defaultdict(list)
    for thing in things:
        if thing.kind == "column":
            columns[thing.relation].append(thing.name)
    tables = {thing.name for thing in things if thing.kind == "table"}
    return {table for table in tables if columns[table] == [f"{table}.version_num"]}


@dataclass(frozen=True)
class Difference:
    """One way in which a database is not as expected.

    :param sentence: for humans
    """

    kind: str
    name: str
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """What comparing two inventories found.

    :param unknown: tables whose rows could not be compared, because one side was not counted
    :param uncounted: those of them that were expected to have so many rows: counting now is what was missing
    :param notes: what is other and may be, a sentence each
    """

    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["EQUAL", "DIFFERENT", "UNKNOWN"]:
        """``UNKNOWN`` when nothing differs as far as it was compared, and not everything was."""
        if self.differences:
            return "DIFFERENT"
        return "UNKNOWN" if self.unknown else "EQUAL"

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each difference, then one for what is not known."""
        told = tuple(difference.sentence for difference in self.differences)
        if not self.unknown:
            return told
        return (*told, f"not counted, so not compared: {', '.join(self.unknown)}")


def compare(expected: Inventory, found: Inventory) -> Comparison:
    """In which ways `found` is not what was `expected`.

    A sequence may be further than expected, because its value is no part of a snapshot; being behind is a
    difference, since it would hand out numbers that are taken.
    """
    differences = (*_things(expected, found), *_sequences(expected, found), *_rows(expected, found))
    counted = sorted(expected.rows.keys() & found.rows.keys())
    unknown = tuple(name for name in counted if expected.rows[name] is None or found.rows[name] is None)
    uncounted = tuple(name for name in unknown if expected.rows[name] is not None)
    return Comparison(differences, unknown, uncounted, tuple(_notes(expected, found)))


def _things(expected: Inventory, found: Inventory) -> Iterator[Difference]:
    before, after = _dumped(expected), _dumped(found)
    for key, mark in changes(before, after):
        kind, name = key
        if mark == "-":
            told = "is missing"
        elif mark == "+":
            told = "is there and was not before"
        else:
            told = f"is {_short(after[key])}, it was {_short(before[key])}"
        yield Difference(kind, name, f"{kind} {name} {told}")


def _dumped(inventory: Inventory) -> dict[tuple[str, str], str]:
    return {(thing.kind, thing.name): _all_of(thing) for thing in inventory.things if thing.dumped}


def _all_of(thing: Thing) -> str:
    return "; ".join(filter(None, (thing.owner and f"owner {thing.owner}", _copied(thing))))


def _notes(expected: Inventory, found: Inventory) -> Iterator[str]:
    before, after = _versions(expected), _versions(found)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield (
                f"extension {name} is {after[name]}, it was {before[name]}: an archive names no version, "
                "so a copy has the server's default one"
            )


def _versions(inventory: Inventory) -> dict[str, str]:
    extensions = (thing for thing in inventory.things if thing.kind == _EXTENSION and thing.dumped)
    return {thing.name: thing.definition for thing in extensions}


def _sequences(expected: Inventory, found: Inventory) -> Iterator[Difference]:
    for name in sorted(expected.sequences.keys() & found.sequences.keys()):
        before, after = expected.sequences[name], found.sequences[name]
        if before is not None and (after is None or _behind(expected, name, before, after)):
            yield Difference("sequence value", name, f"sequence {name} is at {after}, it was at {before}")


def _behind(inventory: Inventory, name: str, before: int, after: int) -> bool:
    definition = next((t.definition for t in inventory.things if (t.kind, t.name) == ("sequence", name)), "")
    return after > before if "increment -" in definition else after < before


def _rows(expected: Inventory, found: Inventory) -> Iterator[Difference]:
    for name in sorted(expected.rows.keys() & found.rows.keys()):
        before, after = expected.rows[name], found.rows[name]
        if before is not None and after is not None and before != after:
            yield Difference("rows", name, f"{name} has {after} rows, it had {before}")
    for name in sorted(expected.rows.keys() - found.rows.keys()):
        if name == LARGE_OBJECTS:
            yield Difference("rows", name, "the large objects are missing")


def _short(definition: str) -> str:
    text = " ".join(definition.split()) or "nothing"
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
