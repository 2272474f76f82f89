"""What is told of a rollback beside alert and mail: the appointment, a refusal, a deadline that was missed."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from include.messages.appointment import Appointment, meeting_time
from include.messages.compose import Occasion, Rollback, facts_of, mail, rollback_facts, slack
from include.messages.model import Message
from include.messages.render import render, shortened
from include.plan.deadlines import PostMortem

Duty = Literal["alert", "mail", "post-mortem"]
DUTIES: Final[tuple[Duty, ...]] = ("alert", "mail", "post-mortem")

# For so long after its deadline a message is still tried.
GIVE_UP_AFTER: Final = timedelta(hours=4)
_MOST_LINES: Final = 12
_NAMES: Final = {
    "alert": "Slack-Alarm",
    "mail": "E-Mail an die Stakeholder",
    "post-mortem": "Post-Mortem-Einladung",
}


@dataclass(frozen=True)
class Obligation:
    """A message that has to be out by a certain time."""

    duty: Duty
    message: Message
    due: datetime

    def given_up(self, now: datetime) -> bool:
        """Whether it is so late that nobody tries any more."""
        return now >= self.due + GIVE_UP_AFTER

    def judged(self, sent_at: datetime | None, now: datetime) -> Literal["kept", "open", "late", "missed"]:
        """Whether the deadline was kept.

        :param sent_at: when it went out; None when it has not
        :return: ``open`` before the deadline, ``late`` when it went out after it, ``missed`` when it has not yet
        """
        if sent_at is not None:
            return "kept" if sent_at <= self.due else "late"
        return "open" if now < self.due else "missed"


def within(occasion: Occasion, duty: Duty) -> timedelta:
    """How soon after the switch a message has to be out."""
    deadlines = occasion.deadlines
    seconds = {
        "alert": deadlines.alert_seconds,
        "mail": deadlines.mail_seconds,
        "post-mortem": deadlines.post_mortem_seconds,
    }
    return timedelta(seconds=seconds[duty])


def invitation(occasion: Occasion, rollback: Rollback, plan: PostMortem) -> Message:
    """The mail that invites to the post-mortem."""
    starts = meeting_time(rollback.switched_at, plan, occasion.timezone)
    summary = f"Post-Mortem: Rollback von {occasion.application} {occasion.version} ({occasion.environment})"
    appointment = Appointment(
        key=occasion.key("post-mortem"),
        summary=summary,
        description=f"Grund des Rollbacks: {shortened(rollback.reason)}\nLauf {occasion.run_id}",
        starts=starts,
        minutes=plan.minutes,
        organizer=occasion.sender,
        attendees=occasion.stakeholders,
        noted=rollback.switched_at,
        place=plan.place,
    )
    facts = {
        **rollback_facts(occasion, rollback),
        "starts": starts,
        "minutes": plan.minutes,
        "place": shortened(plan.place),
    }
    text = render("post_mortem.mail.j2", facts, timezone=occasion.timezone)
    return mail(occasion, "post-mortem", occasion.stakeholders, text, (appointment.attachment(),))


def refusal(occasion: Occasion, *, by: str, what: str, seen: str, remedy: str, at: datetime) -> Message:
    """The answer to whoever asked for a rollback that is none: no alarm, for nobody is worse off."""
    told = {"by": by, "what": what, "seen": seen, "remedy": remedy}
    facts = {**facts_of(occasion), **{name: shortened(text) for name, text in told.items()}, "at": at}
    text = render("rollback_refused.slack.j2", facts, timezone=occasion.timezone)
    return slack(occasion, "rollback-refused", occasion.status_channel, text, urgent=False)


def escalation(occasion: Occasion, missed: Obligation, why: str) -> Message:
    """The message that takes the other way: mail when Slack took none, Slack when the mail server did not."""
    message = missed.message
    facts = {
        **facts_of(occasion),
        "missed": _NAMES[missed.duty],
        "due": missed.due,
        "why": shortened(why),
        "audience": message.channel or ", ".join(message.recipients),
        "told": [line for line in html.unescape(message.text).splitlines() if line.strip()][:_MOST_LINES],
    }
    name = f"escalation-{message.key.rpartition(':message:')[2]}"
    if message.kind == "mail":
        text = render("escalation.slack.j2", facts, timezone=occasion.timezone)
        return slack(occasion, name, occasion.alerts_channel, text, urgent=True)
    text = render("escalation.mail.j2", facts, timezone=occasion.timezone)
    return mail(occasion, name, occasion.escalation or occasion.stakeholders, text)
