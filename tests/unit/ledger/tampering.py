"""Ways to tamper with a ledger, as what an attacker would leave in its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from include.ledger.chain import GENESIS, sealed
from include.ledger.entry import Entry, canonical
from include.ledger.examination import Damage

Chain = list[Entry]
Tamper = Callable[[Chain, int], Chain]
"""(the entries as they were written, index of one of them) → what is left in the table."""


@dataclass(frozen=True)
class Way:
    """One way to tamper.

    :param shows: the damage that has to be told, at the entry that was tampered with
    :param anchored: only a head from outside can show it, wherever it is done
    :param last: how many entries have to stand behind that one
    :param whole: it is done to the whole ledger, not to one entry
    :param behind: how far behind the index the damage shows first
    """

    tamper: Tamper
    shows: Damage
    anchored: bool = False
    last: int = 0
    whole: bool = False
    behind: int = 0

    def places(self, length: int) -> range:
        """Where it can be done in a ledger of so many entries."""
        return range(1) if self.whole else range(length - self.last)


def _set(**fields: object) -> Tamper:
    return lambda chain, at: [*chain[:at], replace(chain[at], **fields), *chain[at + 1 :]]  # type: ignore[arg-type]


def _later(name: str) -> Tamper:
    def tamper(chain: Chain, at: int) -> Chain:
        moved = getattr(chain[at], name) + timedelta(microseconds=1)
        return _set(**{name: moved})(chain, at)

    return tamper


def _spaced(chain: Chain, at: int) -> Chain:
    return _set(payload_json=chain[at].payload_json + " ")(chain, at)


def _exchanged(chain: Chain, at: int) -> Chain:
    """Another content with the hash that belongs to it; the entries behind it are left."""
    return [*chain[:at], sealed(replace(chain[at], actor="mallory")), *chain[at + 1 :]]


def _removed(chain: Chain, at: int) -> Chain:
    return [*chain[:at], *chain[at + 1 :]]


def _renumbered(chain: Sequence[Entry]) -> Chain:
    return [replace(entry, sequence=number) for number, entry in enumerate(chain, 1)]


def _swapped(chain: Chain, at: int) -> Chain:
    return _renumbered([*chain[:at], chain[at + 1], chain[at], *chain[at + 2 :]])


def _rotated(chain: Chain, at: int) -> Chain:
    return _renumbered([*chain[:at], *chain[at + 1 :], chain[at]])


def _forged(chain: Chain, at: int) -> Entry:
    return replace(chain[at], actor="mallory", key=None, payload_json=canonical({"forged": True}))


def _inserted(chain: Chain, at: int) -> Chain:
    new = sealed(replace(_forged(chain, at), previous=chain[at].hash, sequence=at + 2))
    return _renumbered([*chain[: at + 1], new, *chain[at + 1 :]])


def rebuilt(chain: Sequence[Entry], at: int = 0) -> Chain:
    """The chain with numbers, links and hashes made anew from an index on: the chain alone shows nothing of it."""
    built = list(chain[:at])
    for entry in chain[at:]:
        previous = built[-1].hash if built else GENESIS
        built.append(sealed(replace(entry, sequence=len(built) + 1, previous=previous)))
    return built


def _rewritten(chain: Chain, at: int) -> Chain:
    return rebuilt([*chain[:at], replace(chain[at], actor="mallory"), *chain[at + 1 :]], at)


def _rewritten_without(chain: Chain, at: int) -> Chain:
    """Removed, closed over, and filled up at the end, so that even the number of entries is right."""
    return rebuilt([*_removed(chain, at), replace(chain[-1], key=None, kind="filler")], at)


def _rewritten_with(chain: Chain, at: int) -> Chain:
    return rebuilt([*chain[:at], _forged(chain, at), *chain[at:]], at)


def _replaced_tail(chain: Chain, at: int) -> Chain:
    """Cut off, and written on: the ledger is longer than it was."""
    return rebuilt([*chain[:at], *[_forged(chain, at)] * (len(chain) - at + 1)], at)


_CHANGES: Final[Mapping[str, Tamper]] = {
    "kind": _set(kind="gate.decision"),
    "release": _set(release="9.9.9"),
    "environment": _set(environment="staging"),
    "run-id": _set(run_id="another"),
    "actor": _set(actor="mallory"),
    "key": _set(key="another"),
    "at": _later("at"),
    "recorded-at": _later("recorded_at"),
    "payload": _set(payload_json=canonical({"choice": "Go"})),
    "payload-spaced": _spaced,
    "previous": _set(previous="e" * 64),
    "hash": _set(hash="f" * 64),
}

WAYS: Final[Mapping[str, Way]] = {
    **{f"changed-{name}": Way(tamper, "changed") for name, tamper in _CHANGES.items()},
    "changed-with-its-hash": Way(_exchanged, "changed", last=1),
    "removed": Way(_removed, "removed", last=1),
    "removed-and-renumbered": Way(lambda chain, at: _renumbered(_removed(chain, at)), "removed", last=1),
    "reordered": Way(_swapped, "reordered", last=1),
    "reordered-to-the-end": Way(_rotated, "reordered", last=1),
    "inserted": Way(_inserted, "reordered", last=1, behind=2),
    "cut-off": Way(lambda chain, at: chain[:at], "cut-off", anchored=True),
    "rewritten-last-entry": Way(_rewritten, "rewritten", anchored=True),
    "rewritten-without-an-entry": Way(_rewritten_without, "rewritten", anchored=True),
    "rewritten-with-another-entry": Way(_rewritten_with, "rewritten", anchored=True),
    "rewritten-tail": Way(_replaced_tail, "rewritten", anchored=True),
    "rewritten-from-the-beginning": Way(
        lambda chain, at: rebuilt([replace(entry, actor=f"{entry.actor} ") for entry in chain]),
        "rewritten",
        anchored=True,
        whole=True,
    ),
}

CASES: Final = [(name, at) for name, way in WAYS.items() for at in way.places(6)]
"""Every way at every entry of a ledger of six."""
