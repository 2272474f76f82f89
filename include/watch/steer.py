"""What people told a running watch, and what it means.

Airflow checks who may answer and which options there are; the form's fields it hands on as they come, so they are
judged here, and what makes no sense is asked again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from include.plan.accounts import person_of
from include.watch.config import WatchConfig

EXTEND: Final = "Extend"
ACCEPT: Final = "Accept"
ROLL_BACK: Final = "Roll back now"
OPTIONS: Final = (EXTEND, ACCEPT, ROLL_BACK)

COMMENT: Final = "comment"
MINUTES: Final = "minutes"

LONGEST_MINUTES: Final = 24 * 60
_LONGEST_COMMENT: Final = 2000
_NUMBER = re.compile(r"[0-9]{1,6}([.,][0-9]{1,3})?")


@dataclass(frozen=True)
class Answer:
    """What somebody answered.

    :param user: None when nobody did: a default, or an answer made by a program
    :param at: when
    :param comment: on one line, cut to what a ledger entry should hold
    :param minutes: as it was typed
    """

    choice: str
    user: str | None
    at: datetime
    comment: str = ""
    minutes: str = ""

    @property
    def sentence(self) -> str:
        """Who said what, when and why."""
        why = f": {self.comment}" if self.comment else " (no comment)"
        return f"{self.choice} by {self.user or 'nobody'} at {self.at.isoformat(timespec='seconds')}{why}"

    def facts(self) -> dict[str, str | None]:
        """The same as plain JSON, for the ledger."""
        return {"choice": self.choice, "user": self.user, "at": self.at.isoformat(), "why": self.comment}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Answer:
        """Read what :meth:`facts` gave."""
        at = datetime.fromisoformat(str(facts["at"]))
        return cls(str(facts["choice"]), facts["user"], at, str(facts["why"]))


@dataclass(frozen=True)
class Extended:
    """The watch goes on for longer.

    :param minutes: more than before
    """

    config: WatchConfig
    minutes: float


@dataclass(frozen=True)
class Accepted:
    """A human vouches for the release."""

    reason: str


@dataclass(frozen=True)
class RollBack:
    """The old version has to take the traffic, now."""

    reason: str


@dataclass(frozen=True)
class AskAgain:
    """The answer cannot be acted upon.

    :param why: one sentence that says what is missing
    """

    why: str


Decision = Extended | Accepted | RollBack | AskAgain


def answer_of(
    event: Mapping[str, Any], *, now: datetime, accounts: Mapping[str, str] | None = None
) -> Answer | None:
    """Read what Airflow resumes a task with; None when it is the event of a trigger and no human's answer.

    :param now: stands for the time of an answer that has none
    :param accounts: person → account, where that is not their name
    """
    if "chosen_options" not in event or "result" in event:
        return None
    options, fields, user = event["chosen_options"], event.get("params_input"), event.get("responded_by_user")
    fields = fields if isinstance(fields, Mapping) else {}
    name = user.get("id") if isinstance(user, Mapping) else getattr(user, "id", None)
    return Answer(
        choice=str(options[0]) if isinstance(options, list | tuple) and len(options) == 1 else "",
        user=person_of(accounts or {}, str(name)) if name else None,
        at=_moment(event.get("responded_at"), now),
        comment=comment_of(fields.get(COMMENT)),
        minutes=_text(fields.get(MINUTES))[:40],
    )


def comment_of(value: object) -> str:
    """What somebody wrote into a form, as a ledger entry can hold it: on one line, cut, "" for what is no text."""
    return _text(value)[:_LONGEST_COMMENT]


def steer(answer: Answer, config: WatchConfig, *, now: float, people: Collection[str]) -> Decision:
    """Decide what an answer means.

    Rolling back needs nothing but the word of somebody entitled; accepting needs a reason, extending a length.

    :param now: seconds since the epoch
    :param people: who may steer the watch
    """
    early = steer_early(answer, people=people)
    if isinstance(early, RollBack) or answer.user not in people:
        return early
    if answer.choice == ACCEPT:
        if not answer.comment:
            return AskAgain("accepting needs a reason: write why into the comment")
        return Accepted(answer.comment)
    if answer.choice == EXTEND:
        minutes = _minutes(answer.minutes)
        if minutes is None:
            seen = f"not {answer.minutes!r}" if answer.minutes else "the field is empty"
            return AskAgain(f"extending needs minutes, a number from 1 to {LONGEST_MINUTES}: {seen}")
        return Extended(config.extended(minutes * 60, now=now), minutes)
    return AskAgain(f"{answer.choice or 'the answer'!r} is none of {', '.join(OPTIONS)}")


def steer_early(answer: Answer, *, people: Collection[str]) -> RollBack | AskAgain:
    """Decide what an answer means while nothing is live yet: only to stop makes sense.

    :param people: who may steer the watch
    """
    if answer.user is None or answer.user not in people:
        return AskAgain(f"{answer.user or 'nobody'} may not steer this watch; {' or '.join(sorted(people))} may")
    if answer.choice == ROLL_BACK:
        return RollBack(answer.comment or f"ordered by {answer.user}, without a comment")
    return AskAgain(f"nothing is live yet: {answer.choice or 'the answer'} has nothing to act upon")


def _minutes(text: str) -> float | None:
    """A number of minutes; None for everything that is none."""
    if not _NUMBER.fullmatch(text):
        return None
    minutes = float(text.replace(",", "."))
    return minutes if 1 <= minutes <= LONGEST_MINUTES else None


def _text(value: object) -> str:
    """A field's value on one line, whatever was sent for it; what no ledger entry may hold is taken out."""
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    printable = "".join(c if c.isprintable() else " " for c in str(value))
    return " ".join(printable.split())


def _moment(value: object, now: datetime) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return now
    if not isinstance(value, datetime):
        return now
    return value if value.tzinfo else value.replace(tzinfo=UTC)
