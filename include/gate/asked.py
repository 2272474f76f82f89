"""What was asked of whom: recorded before the question, so that it is known what an answer is about.

Airflow keeps the first words of a question for as long as its task instance lives, also when the task is
cleared. A question with other words needs an instance of its own: :func:`to_ask` gives each a place that was not
asked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from include.errors import ApprovalMissing
from include.gate.timing import Wait
from include.ledger.entry import Entry, NewEntry, canonical

ASKED: Final = "gate.asked"


@dataclass(frozen=True)
class Asked:
    """One question.

    :param task: the task that asks
    :param place: its map index
    :param role: whom it asks
    :param words: digest of all that the form shows
    :param fingerprint: of what is decided about
    :param parts: what the fingerprint covers, in words
    :param sequence: of its entry; 0 as long as it has none
    """

    phase: str
    task: str
    place: int
    role: str
    words: str
    fingerprint: str
    wait: Wait
    parts: Mapping[str, str] = field(default_factory=dict)
    sequence: int = field(default=0, compare=False)

    def entry(self, *, release: str, environment: str, run_id: str) -> NewEntry:
        """What is recorded. The same question at the same place, asked anew, waits anew: an entry of its own."""
        remind_at = self.wait.remind_at
        payload = {
            "phase": self.phase,
            "task": self.task,
            "place": self.place,
            "role": self.role,
            "words": self.words,
            "fingerprint": self.fingerprint,
            "deadline": self.wait.deadline.isoformat(),
            "remind_at": remind_at.isoformat() if remind_at else None,
            "parts": dict(self.parts),
        }
        return NewEntry(ASKED, release, environment, run_id, "stellwerk", payload, at=self.wait.asked_at)

    @classmethod
    def of(cls, entry: Entry) -> Asked:
        """Read what :meth:`entry` wrote."""
        told = entry.payload
        remind_at = told.get("remind_at")
        when = Wait(
            entry.at,
            datetime.fromisoformat(told["deadline"]),
            datetime.fromisoformat(remind_at) if remind_at else None,
        )
        texts = {name: str(told[name]) for name in ("phase", "task", "role", "words", "fingerprint")}
        parts = told.get("parts") or {}
        return cls(place=int(told["place"]), wait=when, parts=parts, sequence=entry.sequence, **texts)


def words(*shown: Any) -> str:
    """Digest of all that a form shows."""
    return hashlib.sha256(canonical(list(shown)).encode()).hexdigest()


def at_place(entries: Iterable[Entry], task: str, place: int) -> Asked | None:
    """What was asked last at a place.

    :param entries: of one run
    """
    found = [one for one in map(Asked.of, _of_kind(entries)) if (one.task, one.place) == (task, place)]
    return found[-1] if found else None


def must_say_the_same(before: Asked | None, now: str, remedy: str) -> None:
    """Refuse to ask at a place where Airflow would show the words of another question.

    :param now: digest of the words that are to be shown
    :param remedy: what gives the question a place of its own
    :raises ApprovalMissing: naming the task that gives the question a place of its own
    """
    if before is not None and before.words != now:
        raise ApprovalMissing(
            "the question has changed since it was asked here, and Airflow would show its old words",
            expected="a question of its own for what is so now",
            seen=f"one about {before.fingerprint[:16]}",
            remedy=remedy,
        )


def to_ask(entries: Iterable[Entry], task: str, wanted: Sequence[str]) -> list[dict[str, str]]:
    """What a mapped task is expanded over: places that were asked at and are over, then one for each role.

    :param entries: of one run
    :param task: the task that asks
    :param wanted: the roles that are to be asked
    """
    before: dict[int, str] = {}
    for one in map(Asked.of, _of_kind(entries)):
        if one.task == task:
            before[one.place] = one.role
    over = [{"role": before.get(place, ""), "over": "yes"} for place in range(max(before, default=-1) + 1)]
    return [*over, *({"role": role, "over": ""} for role in wanted)]


def shown_for(entries: Iterable[Entry], phase: str, fingerprint: str) -> Asked | None:
    """The question by which something was shown that has this fingerprint."""
    found = [
        one for one in map(Asked.of, _of_kind(entries)) if (one.phase, one.fingerprint) == (phase, fingerprint)
    ]
    return found[-1] if found else None


def _of_kind(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind == ASKED]
