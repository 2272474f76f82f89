"""The hash chain: what an entry's hash is (a look at all of them is :mod:`include.ledger.examination`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from include.ledger.entry import Entry, Head, canonical, stamp

GENESIS = "0" * 64
"""The hash before the first entry."""

FORMAT = 1
"""Version of what is hashed; it is hashed too."""


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
