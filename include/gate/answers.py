"""What an answer at a gate means. Airflow checks who may answer; the form's fields come as they are sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from include.gate.timing import Wait
from include.ledger.approvals import GO, NO_GO, Choice
from include.ledger.delegations import refusal

DELEGATE: Final = "Delegate"
OPTIONS: Final = (GO, NO_GO, DELEGATE)

COMMENT: Final = "comment"
SHOWN: Final = "fingerprint"
TO: Final = "delegate"
POINT: Final = "point_"


@dataclass(frozen=True)
class Given:
    """What somebody answered.

    :param user: as the plan names them; None when nobody did: an answer made by a program
    :param shown: fingerprint of what the form showed
    :param to: whom they name as their delegate
    :param ticked: texts of the checklist's points they vouch for
    """

    choice: str
    user: str | None
    at: datetime
    comment: str = ""
    shown: str = ""
    to: str = ""
    ticked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What an answer is held against.

    :param roles: of the gate, with their own people
    :param holders: of the gate, with whoever may speak for them now
    :param people: everybody whom the environment names
    :param shown: fingerprint of what the question is about
    :param decided: roles → who has said Go for them
    :param points: the texts that the role has to tick for a Go
    """

    role: str
    roles: Mapping[str, Sequence[str]]
    holders: Mapping[str, Sequence[str]]
    people: frozenset[str]
    quorum: int
    wait: Wait
    shown: str
    decided: Mapping[str, str] = field(default_factory=dict)
    points: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decided:
    """Go or No-Go."""

    choice: Choice


@dataclass(frozen=True)
class Delegates:
    """Somebody else is to be asked, too."""

    to: str


@dataclass(frozen=True)
class Late:
    """The deadline was over: silence."""


@dataclass(frozen=True)
class AskAgain:
    """The answer cannot be acted upon.

    :param why: one sentence that says what is missing
    """

    why: str


def meaning(given: Given, rules: Rules) -> Decided | Delegates | Late | AskAgain:
    """What an answer means. A No-Go needs nothing; whatever makes no sense is asked again."""
    if given.user is None or given.user not in rules.holders.get(rules.role, ()):
        who = " or ".join(rules.holders.get(rules.role, ())) or "nobody"
        return AskAgain(f"{given.user or 'nobody'} does not speak for {rules.role}; {who} may answer")
    if given.choice == NO_GO:
        return Decided(NO_GO)
    if rules.wait.is_over(given.at):
        return Late()
    if given.choice == DELEGATE:
        why = refusal(
            rules.role,
            given.user,
            given.to,
            roles=rules.roles,
            people=rules.people,
            decided={role: user for role, user in rules.decided.items() if role != rules.role},
            quorum=rules.quorum,
        )
        return AskAgain(why) if why else Delegates(given.to)
    if given.choice != GO:
        return AskAgain(f"{given.choice or 'the answer'!r} is none of {', '.join(OPTIONS)}")
    if given.shown != rules.shown:
        said = f"for {given.shown[:16]}" if given.shown else "without what was shown"
        return AskAgain(f"a Go {said} is none for {rules.shown[:16]}, which this question is about")
    if missing := [text for text in rules.points if text not in given.ticked]:
        return AskAgain(f"a Go needs every point ticked that is asked of {rules.role}: {'; '.join(missing)}")
    return Decided(GO)


def read(answer: Mapping[str, Any], user: str | None, at: datetime, points: Sequence[str]) -> Given:
    """Read what Airflow resumes a task with.

    :param answer: ``chosen_options`` and ``params_input``; whoever answers past the form may send anything
    :param points: the texts that the form has boxes for
    """
    options, fields = answer.get("chosen_options"), answer.get("params_input")
    form = fields if isinstance(fields, Mapping) else {}
    chosen = options if isinstance(options, list | tuple) else ()
    return Given(
        choice=str(chosen[0]) if len(chosen) == 1 else "",
        user=user,
        at=at,
        comment=one_line(form.get(COMMENT)),
        shown=one_line(form.get(SHOWN)),
        to=one_line(form.get(TO)),
        ticked=tuple(text for text in points if form.get(box(text)) is True),
    )


def box(point: str) -> str:
    """The name of the field by which a point is ticked: of its text, whatever else is in the list by then."""
    return f"{POINT}{hashlib.sha256(point.encode()).hexdigest()[:8]}"


def one_line(value: object, longest: int = 2000) -> str:
    """A field's value as a ledger entry can hold it: on one line, cut, "" for what is no text."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    printable = "".join(c if c.isprintable() else " " for c in str(value))
    return " ".join(printable.split())[:longest]
