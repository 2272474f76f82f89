"""The hash chain: what an entry's hash is, and what a look at all entries tells.

A chain finds every changed, removed, inserted or reordered entry. It cannot find a tail that was cut off, nor
a chain that was written anew from some entry on: for those, heads noted outside the database are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from include.ledger.entry import Entry, Head, canonical, stamp

GENESIS = "0" * 64
"""The hash before the first entry."""

FORMAT = 1
"""Version of what is hashed; it is hashed too."""

Damage = Literal["changed", "removed", "reordered", "cut-off", "rewritten"]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    :param sequence: the place, the first entry's is 1
    """

    damage: Damage
    sequence: int
    sentence: str


@dataclass(frozen=True)
class Examination:
    """What a look at the whole ledger gave.

    :param head: stands for everything that was read
    :param heads_compared: how many heads from outside were compared
    """

    entries: int
    head: Head
    heads_compared: int
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def digest(entry: Entry) -> str:
    """The hash the entry must have: sha256 over all of its other fields, hex."""
    fields = [
        FORMAT,
        entry.sequence,
        entry.previous,
        entry.kind,
        entry.release,
        entry.environment,
        entry.run_id,
        entry.actor,
        entry.key,
        stamp(entry.at),
        stamp(entry.recorded_at),
        entry.payload_json,
    ]
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def sealed(entry: Entry) -> Entry:
    """The entry with the hash it must have."""
    return replace(entry, hash=digest(entry))


def head_of(entries: Sequence[Entry]) -> Head:
    """The head that stands for the entries."""
    return Head(entries[-1].sequence, entries[-1].hash) if entries else Head(0, GENESIS)


def examine(entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Examination:
    """Check the entries, given in their order from the first one, against the chain and heads from outside."""
    chain = tuple(entries)
    noted = tuple(heads)
    faults = [*_chain_faults(chain), *_head_faults(chain, noted)]
    return Examination(len(chain), head_of(chain), len(noted), tuple(faults))


def _chain_faults(chain: Sequence[Entry]) -> Iterable[Fault]:
    known = {GENESIS, *(entry.hash for entry in chain)}
    sequence, previous = 0, GENESIS
    for entry in chain:
        link = _link_fault(entry, sequence, previous, known)
        if link is not None:
            yield link
        # A moved entry has another number, so its hash differs as well: that is said once.
        moved = link is not None and link.damage == "reordered"
        if not moved and entry.hash != digest(entry):
            yield Fault(
                "changed", entry.sequence, f"entry {entry.sequence} is not as it was recorded: its hash differs"
            )
        sequence, previous = entry.sequence, entry.hash


def _link_fault(entry: Entry, sequence: int, previous: str, known: set[str]) -> Fault | None:
    number = entry.sequence
    if number <= sequence:
        return Fault("reordered", number, f"entry {number} stands behind entry {sequence}")
    if number > sequence + 1:
        return Fault("removed", sequence + 1, _gap(sequence + 1, number - 1))
    if entry.previous == previous:
        return None
    if entry.previous in known:
        return Fault("reordered", number, f"entry {number} does not follow the entry it was recorded after")
    return Fault("removed", number, f"entry {number} was recorded after an entry that is not there as it was")


def _gap(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _head_faults(chain: Sequence[Entry], heads: Sequence[Head]) -> Iterable[Fault]:
    hashes = {entry.sequence: entry.hash for entry in chain}
    last = max(hashes, default=0)
    for head in sorted(set(heads), key=lambda head: head.sequence):
        if head.sequence > last:
            sentence = f"the ledger ends at entry {last}, but head {head.short} was noted outside"
            yield Fault("cut-off", last + 1, sentence)
        elif head.sequence > 0 and not hashes.get(head.sequence, "").startswith(head.hash):
            sentence = f"entry {head.sequence} is not the one that head {head.short} was noted for"
            yield Fault("rewritten", head.sequence, sentence)
