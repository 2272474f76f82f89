"""What a message is about, and how it becomes one: the release and run, and where its messages go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from include.ledger.entry import Head
from include.messages.limits import LONGEST_NAME, LONGEST_POST, LONGEST_SUBJECT, cut, shortened
from include.messages.model import Attachment, Message
from include.messages.render import render, render_mail
from include.plan.communication import Language
from include.plan.deadlines import MessageDeadlines
from include.plan.people import Contact


@dataclass(frozen=True)
class Occasion:
    """The release and run that a message is about, and where its messages go.

    :param timezone: in which times are told, an IANA name
    :param escalation: who gets a mail when Slack takes no alert in time
    :param head: of the ledger when the message was composed; None when the ledger gave no answer
    :param language: of every message
    :param contacts: whom to call in an emergency
    :param support: whom users turn to
    :param channels: where the plan wants single status events told, by event
    """

    application: str
    version: str
    previous: str
    environment: str
    run_id: str
    timezone: str
    status_channel: str
    alerts_channel: str
    sender: str
    stakeholders: tuple[str, ...]
    head: Head | None
    escalation: tuple[str, ...] = ()
    deadlines: MessageDeadlines = field(default_factory=MessageDeadlines)
    language: Language = "de"
    contacts: tuple[Contact, ...] = ()
    support: tuple[Contact, ...] = ()
    channels: Mapping[str, str] = field(default_factory=dict)

    def key(self, what: str) -> str:
        """The idempotency key of a message of this run."""
        return f"{self.version}@{self.environment}/{self.run_id}:message:{what}"

    def release_key(self, what: str) -> str:
        """The idempotency key of a message that a release has once, whichever run sends it."""
        return f"{self.version}@{self.environment}:message:{what}"


def facts_of(occasion: Occasion) -> dict[str, Any]:
    """What every template may name."""
    facts = {
        "application": occasion.application,
        "version": occasion.version,
        "previous": occasion.previous,
        "environment": occasion.environment,
        "run_id": occasion.run_id,
    }
    head = occasion.head.short if occasion.head else None
    return {**{name: shortened(fact, LONGEST_NAME) for name, fact in facts.items()}, "head": head}


def told(contacts: tuple[Contact, ...]) -> list[str]:
    """Contacts as a message names them, one line each."""
    return [
        shortened(", ".join(part for part in (one.name, one.role, one.phone, one.mail or "") if part))
        for one in contacts
    ]


def text_of(occasion: Occasion, template: str, facts: Mapping[str, Any]) -> str:
    """A template in the occasion's language and time zone."""
    return render(template, facts, timezone=occasion.timezone, language=occasion.language)


def mail(
    occasion: Occasion,
    name: str,
    to: tuple[str, ...],
    template: str,
    facts: Mapping[str, Any],
    *,
    attachments: tuple[Attachment, ...] = (),
) -> Message:
    """An urgent mail of this occasion; ``name`` makes its key."""
    written = render_mail(template, facts, timezone=occasion.timezone, language=occasion.language)
    return Message(
        key=occasion.key(name),
        kind="mail",
        release=occasion.version,
        environment=occasion.environment,
        run_id=occasion.run_id,
        text=written.text,
        html=written.html,
        language=occasion.language,
        sender=occasion.sender,
        recipients=to,
        subject=shortened(written.subject, LONGEST_SUBJECT),
        urgent=True,
        attachments=attachments,
    )


def slack(
    occasion: Occasion, name: str, channel: str, template: str, facts: Mapping[str, Any], *, urgent: bool
) -> Message:
    """A post of this occasion; ``name`` makes its key."""
    return Message(
        key=occasion.key(name),
        kind="slack",
        release=occasion.version,
        environment=occasion.environment,
        run_id=occasion.run_id,
        text=cut(text_of(occasion, template, facts), LONGEST_POST),
        language=occasion.language,
        channel=channel,
        urgent=urgent,
    )
