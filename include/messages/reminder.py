"""What people are told while a gate waits for answers: that it does, and who was named to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from include.messages.limits import shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, slack


def gate_reminder(
    occasion: Occasion,
    *,
    what: str,
    missing: Mapping[str, Sequence[str]],
    deadline: datetime,
    number: str,
    at: datetime,
) -> Message:
    """Remind those who have not answered, once for everything that is asked at the same time.

    :param what: what is decided about
    :param missing: role → who may answer for it
    :param number: tells one asking of the same gate from the next
    """
    told = [(shortened(role), shortened(", ".join(people))) for role, people in missing.items()]
    facts = {**facts_of(occasion), "what": shortened(what), "missing": told, "deadline": deadline, "at": at}
    message = slack(
        occasion, "gate-reminder", occasion.status_channel, "gate_reminder.slack.j2", facts, urgent=False
    )
    return replace(message, key=f"{message.key}:{number}")


def gate_delegated(occasion: Occasion, *, role: str, by: str, to: str, comment: str, at: datetime) -> Message:
    """Tell who was named to decide for a role; nobody else would.

    :param by: who has named them
    """
    said = {"role": role, "by": by, "to": to, "comment": comment}
    facts = {**facts_of(occasion), **{name: shortened(fact) for name, fact in said.items()}, "at": at}
    message = slack(
        occasion, "gate-delegated", occasion.status_channel, "gate_delegated.slack.j2", facts, urgent=False
    )
    return replace(message, key=f"{message.key}:{role}:{by}:{to}:{at.isoformat()}")
