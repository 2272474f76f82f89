"""What the ledger holds: entries, and heads that stand for all entries up to one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from include.errors import InvalidEntry

SHORT_HASH = 12
"""Characters of a hash that messages show: enough to find a forged one, short enough to read aloud."""


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces, ASCII only: equal values give equal text.

    :raises InvalidEntry: the value is not JSON (NaN included)
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidEntry(
            "the payload of a ledger entry is not JSON",
            expected="objects, arrays, strings, finite numbers, booleans, null",
            seen=str(error),
            remedy="convert dates and numbers to text before recording them",
        ) from error


def stamp(moment: datetime) -> str:
    """The moment in UTC with microseconds, as it enters the hash."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class NewEntry:
    """Something that happened and is to be recorded.

    :param kind: what happened, for example ``cutover.done``
    :param release: version the entry belongs to
    :param environment: environment the entry belongs to
    :param run_id: Airflow's id of the run that acted
    :param actor: the person or component that acted
    :param payload: the facts, JSON only
    :param key: idempotency key; a second entry with the same key is not written
    :param at: when it happened (aware); the database's clock when not given
    :raises InvalidEntry: an empty or unprintable field, a naive time, a payload that is not JSON
    """

    kind: str
    release: str
    environment: str
    run_id: str
    actor: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("kind", "release", "environment", "run_id", "actor"):
            _require_text(name, getattr(self, name))
        if self.key is not None:
            _require_text("key", self.key)
        if self.at is not None and self.at.tzinfo is None:
            raise InvalidEntry(
                "the time of a ledger entry has no time zone", expected="an aware time", seen=self.at.isoformat()
            )
        canonical(self.payload_object())

    def payload_object(self) -> dict[str, Any]:
        """The payload as a plain dict.

        :raises InvalidEntry: a key is not text
        """
        payload = dict(self.payload)
        if not all(isinstance(name, str) for name in payload):
            raise InvalidEntry("a payload's keys must be text", seen=repr(sorted(map(str, payload))))
        return payload


@dataclass(frozen=True)
class Entry:
    """An entry as it stands in the ledger.

    :param sequence: 1 for the first entry, without gaps
    :param at: when it happened
    :param recorded_at: when it was written, by the database's clock
    :param payload_json: the stored text of the payload; the hash covers exactly this text
    :param previous: hash of the entry before
    :param hash: sha256 over every other field, hex
    """

    sequence: int
    kind: str
    release: str
    environment: str
    run_id: str
    actor: str
    key: str | None
    at: datetime
    recorded_at: datetime
    payload_json: str
    previous: str
    hash: str

    @cached_property
    def payload(self) -> Mapping[str, Any]:
        """The payload, parsed. A damaged payload is empty here; the chain's check names it."""
        try:
            value = json.loads(self.payload_json)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def newest_of(entries: Sequence[Entry], *kinds: str) -> Entry | None:
    """The last entry of any of the kinds.

    :param entries: oldest first
    """
    return next((entry for entry in reversed(entries) if entry.kind in kinds), None)


@dataclass(frozen=True)
class Head:
    """Stands for the whole ledger up to an entry. Sequence 0 is the empty ledger.

    :param hash: the entry's hash, or its first characters when read from a message
    """

    sequence: int
    hash: str

    @property
    def short(self) -> str:
        """How messages write it, for example ``42:1a2b3c4d5e6f``."""
        return f"{self.sequence}:{self.hash[:SHORT_HASH]}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what :attr:`short` wrote, or a full ``sequence:hash``.

        :raises InvalidEntry: the text is no head
        """
        sequence, _, digest = text.strip().partition(":")
        is_hex = bool(digest) and all(character in "0123456789abcdef" for character in digest)
        if not (sequence.isascii() and sequence.isdigit() and is_hex and 8 <= len(digest) <= 64):
            raise InvalidEntry(
                "not a ledger head", expected="<sequence>:<at least 8 hex digits>", seen=text.strip()[:80]
            )
        return cls(int(sequence), digest)


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidEntry(f"a ledger entry needs a {name}", expected="text", seen=repr(value))
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEntry(f"a ledger entry's {name} is not Unicode text", seen=repr(value)) from error
    if "\x00" in value:
        raise InvalidEntry(f"a ledger entry's {name} contains a NUL character", seen=repr(value))
