"""A message to people, ready to be sent by any transport."""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass
from typing import Literal

from include.errors import MessageError

Kind = Literal["slack", "mail"]


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a mail.

    :param content_type: for example ``text/calendar``
    :param parameters: of the content type, for example ``(("method", "REQUEST"),)``
    :raises MessageError: a name or type that could write further headers
    """

    name: str
    content_type: str
    content: bytes
    parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for text in (self.name, self.content_type, *(part for pair in self.parameters for part in pair)):
            if not text or not text.isprintable():
                raise MessageError("an attachment's name or type is not printable", seen=repr(text))
        if self.content_type.count("/") != 1:
            raise MessageError("an attachment's type is none", expected="text/calendar", seen=self.content_type)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Message:
    """What is said to whom.

    :param key: idempotency key: one fact told to one audience
    :param kind: ``slack`` or ``mail``
    :param release: version the message is about
    :param environment: environment the message is about
    :param run_id: run that sends it
    :param text: what is said; Slack's mrkdwn with ``&``, ``<`` and ``>`` escaped, or plain text for mail
    :param channel: Slack channel, with its ``#``
    :param sender: address the mail comes from
    :param recipients: addresses the mail goes to
    :param subject: of the mail, one line
    :param urgent: goes out even when the ledger cannot say whether it went out before
    :param attachments: of a mail
    :raises MessageError: nobody would receive it, or nothing would be said
    """

    key: str
    kind: Kind
    release: str
    environment: str
    run_id: str
    text: str
    channel: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""
    urgent: bool = False
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        needed = {"key": self.key, "text": self.text.strip()}
        if self.kind == "slack":
            needed["channel"] = self.channel
        else:
            needed |= {
                "sender": self.sender,
                "recipient": "".join(self.recipients),
                "subject": self.subject.strip(),
            }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise MessageError(
                f"a {self.kind} message without {' and '.join(missing)} cannot be sent",
                expected="every part of the message",
                seen=f"message {self.key or 'without key'}",
                remedy="complete the environment's `messages`",
            )
        for address in (self.subject, self.sender, *self.recipients, self.channel):
            # A line break in a header would let a text write further headers.
            if any(character in address for character in "\r\n\x00"):
                raise MessageError("a message's header has a line break", seen=repr(address))

    @property
    def message_id(self) -> str:
        """The mail's Message-ID: the same for every attempt, so that mail programs show one mail."""
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:32]
        domain = self.sender.rpartition("@")[2].rstrip(">").strip() or "stellwerk.invalid"
        return f"<{digest}@{domain}>"

    @property
    def html(self) -> str:
        """The text for transports that send HTML: paragraphs and line breaks, nothing of it interpreted."""
        paragraphs = [part.strip() for part in self.text.split("\n\n") if part.strip()]
        return "\n".join(f"<p>{html.escape(part).replace(chr(10), '<br>' + chr(10))}</p>" for part in paragraphs)
