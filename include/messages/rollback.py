"""What is told of a rollback beside alert and mail: the appointment, a refusal, a deadline that was missed."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from include.messages.appointment import Appointment, meeting_time
from include.messages.compose import Rollback, rollback_facts
from include.messages.limits import shortened
from include.messages.model import Message
from include.messages.occasion import Occasion, facts_of, mail, slack, text_of
from include.plan.deadlines import PostMortem

Duty = Literal["alert", "mail", "post-mortem"]
DUTIES: Final[tuple[Duty, ...]] = ("alert", "mail", "post-mortem")

# For so long after its deadline a message is still tried.
GIVE_UP_AFTER: Final = timedelta(hours=4)
_MOST_LINES: Final = 12


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
    facts = {
        **rollback_facts(occasion, rollback),
        "starts": starts,
        "minutes": plan.minutes,
        "place": shortened(plan.place),
    }
    summary, _, description = text_of(occasion, "post_mortem.calendar.j2", facts).partition("\n")
    appointment = Appointment(
        key=occasion.key("post-mortem"),
        summary=summary,
        description=description.strip(),
        starts=starts,
        minutes=plan.minutes,
        organizer=occasion.sender,
        attendees=occasion.stakeholders,
        noted=rollback.switched_at,
        place=plan.place,
        language=occasion.language,
    )
    attachments = (appointment.attachment(),)
    return mail(
        occasion, "post-mortem", occasion.stakeholders, "post_mortem.mail.j2", facts, attachments=attachments
    )


def refusal(occasion: Occasion, *, by: str, what: str, seen: str, remedy: str, at: datetime) -> Message:
    """The answer to whoever asked for a rollback that is none: no alarm, for nobody is worse off."""
    said = {"by": by, "what": what, "seen": seen, "remedy": remedy}
    facts = {**facts_of(occasion), **{name: shortened(text) for name, text in said.items()}, "at": at}
    channel = occasion.status_channel
    return slack(occasion, "rollback-refused", channel, "rollback_refused.slack.j2", facts, urgent=False)


def escalation(occasion: Occasion, missed: Obligation, why: str, *, late: bool = True) -> Message:
    """The message that takes the other way: mail when Slack took none, Slack when the mail server did not.

    :param late: its deadline has passed; where it has not, nobody waits for it, for it will not be taken
    """
    message = missed.message
    text = html.unescape(message.text) if message.kind == "slack" else message.text
    lines = text.splitlines()
    facts = {
        **facts_of(occasion),
        "duty": missed.duty,
        "due": missed.due,
        "late": late,
        "why": shortened(why),
        "audience": message.channel or shortened(", ".join(message.recipients)),
        "told": [shortened(line) for line in lines if line.strip()][:_MOST_LINES],
    }
    name = f"escalation-{message.key.rpartition(':message:')[2]}"
    if message.kind == "mail":
        return slack(occasion, name, occasion.alerts_channel, "escalation.slack.j2", facts, urgent=True)
    return mail(occasion, name, occasion.escalation or occasion.stakeholders, "escalation.mail.j2", facts)
