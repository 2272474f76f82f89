"""A look at the whole ledger: whether it is what was written, and if not, where and how it was tampered with.

A chain finds every changed, removed, inserted or reordered entry. It cannot find a tail that was cut off, nor
a chain that was written anew from some entry on: for those, heads noted outside the database are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from include.ledger.chain import GENESIS, digest, head_of
from include.ledger.entry import Entry, Head

Damage = Literal["changed", "removed", "reordered", "cut-off", "rewritten", "unprotected"]

_BACKUP: Final = "take it from a backup of the ledger's database, or from an export of that day"
REMEDIES: Final[Mapping[Damage, str]] = {
    "changed": f"do not rely on what it says; {_BACKUP}; find out who could write",
    "removed": f"what is missing has to be found: {_BACKUP}; approvals behind it may lack their context",
    "reordered": f"the order of events is another one: {_BACKUP}; find out who could write",
    "cut-off": f"start no release before it is back; {_BACKUP}; messages and reports tell what happened since",
    "rewritten": f"trust no approval from there on; {_BACKUP}; whoever did it could write past Stellwerk's role",
    "unprotected": "switch it on as the ledger's owner (ALTER TABLE … ENABLE TRIGGER); find out who did it",
}
"""What to do about each kind of damage."""

_FARTHEST: Final = 100
"""So many entries beyond the last one an entry may have been, that was given another number."""

_MOST_TRIES: Final = 100_000
"""Hashes that are tried to find out under which numbers entries were recorded; what is not found was changed."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    :param sequence: the place, the first entry's is 1; 0 for the ledger as a whole
    :param head: the head from outside that shows it; None when the chain itself does
    """

    damage: Damage
    sequence: int
    sentence: str
    head: Head | None = None

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.damage]


@dataclass(frozen=True)
class Examination:
    """What a look at the whole ledger gave.

    :param head: stands for everything that was read
    :param heads_compared: how many heads from outside were compared
    :param covered: the newest entry that a head from outside vouches for; what is behind it could have been cut
        off or written anew unseen
    """

    entries: int
    head: Head
    heads_compared: int
    faults: tuple[Fault, ...]
    covered: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def examine(entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Examination:
    """Check the entries, given in their order from the first one, against the chain and heads from outside."""
    chain = tuple(entries)
    noted = tuple(heads)
    faults = [*_chain_faults(chain), *_head_faults(chain, noted)]
    covered = max((head.sequence for head in _fitting(chain, noted)), default=0)
    return Examination(len(chain), head_of(chain), len(noted), tuple(faults), covered)


@dataclass(frozen=True)
class _Before:
    """What is known of the entry before the one that is looked at.

    :param moved: by how much its number differs from the one it was recorded with
    :param sound: it is as it was recorded
    """

    number: int = 0
    hash: str = GENESIS
    moved: int = 0
    sound: bool = True


def _chain_faults(chain: Sequence[Entry]) -> Iterator[Fault]:
    recorded = _Numbers(chain)
    known = {GENESIS, *(entry.hash for entry in chain)}
    before = _Before()
    for entry in chain:
        number, origin = entry.sequence, recorded.of(entry)
        moved = origin - number if origin is not None else before.moved
        if fault := _order_fault(entry, before, moved, recorded):
            yield fault
        elif origin is not None and before.sound and entry.previous != before.hash:
            yield _link_fault(entry, before, known)
        if origin is None:
            yield Fault("changed", number, f"entry {number} is not as it was recorded: its hash differs")
        before = _Before(number, entry.hash, moved, sound=origin is not None)


def _order_fault(entry: Entry, before: _Before, moved: int, recorded: _Numbers) -> Fault | None:
    """What the numbers tell; whoever closes a gap by renumbering cannot change what the hashes cover."""
    number = entry.sequence
    if number <= before.number:
        return Fault("reordered", number, f"entry {number} stands behind entry {before.number}")
    if number > before.number + 1:
        return Fault("removed", before.number + 1, f"{_range(before.number + 1, number - 1)} missing")
    if moved == before.moved or moved == 0:
        return None
    first, origin = before.number + before.moved + 1, number + moved
    if moved > before.moved and not recorded.any_of(range(first, origin)):
        renumbered = f"entry {number} was recorded as entry {origin}"
        return Fault("removed", number, f"{_range(first, origin - 1)} missing: {renumbered}")
    return Fault("reordered", number, f"entry {number} was recorded as entry {origin}")


def _link_fault(entry: Entry, before: _Before, known: set[str]) -> Fault:
    number = entry.sequence
    if entry.previous in known:
        return Fault("reordered", number, f"entry {number} does not follow the entry it was recorded after")
    if before.number == 0:
        return Fault(
            "removed", number, f"entry {number} was not recorded as the first: what came before is missing"
        )
    exchanged = f"entry {before.number} is not the one that entry {number} was recorded after: it was exchanged"
    return Fault("changed", before.number, exchanged)


class _Numbers:
    """The numbers under which entries were recorded, as their hashes tell."""

    def __init__(self, chain: Sequence[Entry]) -> None:
        self._tries = _MOST_TRIES
        self._last = max((entry.sequence for entry in chain), default=0)
        self._moved = 0
        self._found: dict[int, int | None] = {id(entry): self._look(entry) for entry in chain}
        self._present = set(self._found.values())

    def of(self, entry: Entry) -> int | None:
        """The entry's number when it was recorded; None when something else was changed as well."""
        return self._found[id(entry)]

    def any_of(self, numbers: Iterable[int]) -> bool:
        """Whether an entry with one of these numbers is still there."""
        return any(number in self._present for number in numbers)

    def _look(self, entry: Entry) -> int | None:
        if digest(entry) == entry.hash:
            return entry.sequence
        # Whoever closes a gap moves all that is behind it by as much.
        for number in itertools.chain((entry.sequence + self._moved,), range(1, self._last + _FARTHEST)):
            if self._tries <= 0:
                return None
            self._tries -= 1
            if digest(replace(entry, sequence=number)) == entry.hash:
                self._moved = number - entry.sequence
                return number
        return None


def _head_faults(chain: Sequence[Entry], heads: Sequence[Head]) -> Iterable[Fault]:
    last = max((entry.sequence for entry in chain), default=0)
    ordered = sorted(set(heads), key=lambda head: head.sequence)
    fit = _fitting(chain, ordered)
    strange = [head for head in ordered if head.sequence <= last and head not in fit]
    for head in strange[:1]:
        known = max((one.sequence for one in fit if one.sequence < head.sequence), default=0)
        more = f", nor do {len(strange) - 1} more heads fit" if len(strange) > 1 else ""
        sentence = f"{_range(known + 1, head.sequence)} not as head {head.short} was noted for{more}"
        yield Fault("rewritten", known + 1, sentence, head)
    beyond = [head for head in ordered if head.sequence > last]
    for head in beyond[-1:]:
        missing = f"{_range(last + 1, head.sequence)} missing at its end"
        sentence = f"the ledger ends at entry {last}, but head {head.short} was noted outside: {missing}"
        yield Fault("cut-off", last + 1, sentence, head)


def _fitting(chain: Sequence[Entry], heads: Sequence[Head]) -> set[Head]:
    """The heads that the chain has; that of the empty ledger always."""
    hashes = {0: GENESIS, **{entry.sequence: entry.hash for entry in chain}}
    return {head for head in heads if hashes.get(head.sequence, "").startswith(head.hash)}


def _range(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
