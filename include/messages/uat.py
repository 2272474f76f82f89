"""What key users are told: that their form is open, and why it is open once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from include.messages.limits import shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, slack


def uat_open(
    occasion: Occasion, *, user: str, problem: str, deadline: datetime, number: str, at: datetime
) -> Message:
    """Tell a key user that their form is open, once for each asking.

    :param problem: why an answer does not count yet; empty when there was none
    :param number: tells one asking of the same user from the next
    """
    facts = {**facts_of(occasion), "user": user, "problem": shortened(problem), "deadline": deadline, "at": at}
    message = slack(occasion, "uat-open", occasion.status_channel, "uat_open.slack.j2", facts, urgent=False)
    return replace(message, key=f"{message.key}:{user}:{number}")
