"""The reminder that a gate still waits for answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from include.messages.compose import Occasion, facts_of, slack
from include.messages.model import Message
from include.messages.render import render


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
    told = [(role, ", ".join(people)) for role, people in missing.items()]
    facts = {**facts_of(occasion), "what": what, "missing": told, "deadline": deadline, "at": at}
    text = render("gate_reminder.slack.j2", facts, timezone=occasion.timezone)
    message = slack(occasion, "gate-reminder", occasion.status_channel, text, urgent=False)
    return replace(message, key=f"{message.key}:{number}")
