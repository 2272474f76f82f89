"""A message to people, ready to be sent by any transport."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from include.errors import MessageError
from include.plan.communication import Language

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
    :param html: the text as a fragment of HTML; made from the text where it is empty
    :param language: of the text
    :param shown_to: what a mail says it goes to; the recipients where it is empty
    :param threaded: the post belongs into the thread of its release, environment and channel
    :param thread: the ts of that thread's first post; empty for the first post itself
    :param broadcast: a post in a thread that the channel shows as well
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
    html: str = ""
    language: Language = "de"
    shown_to: tuple[str, ...] = ()
    threaded: bool = False
    thread: str = ""
    broadcast: bool = False

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
        for address in (self.subject, self.sender, *self.recipients, *self.shown_to, self.channel):
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
    def page(self) -> str:
        """The text as a whole page of well-formed HTML, nothing of it interpreted."""
        return (
            f'<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="{self.language}">\n<head>\n'
            f'<meta charset="utf-8" />\n<title>{html.escape(self.subject)}</title>\n</head>\n'
            f"<body>\n{self.html.strip() or _paragraphs(self.text)}\n</body>\n</html>\n"
        )

    def noted(self, sentence: str) -> Message:
        """The message with a sentence of its sender at its end."""
        fragment = f"{self.html.rstrip()}\n{_paragraphs(sentence)}\n" if self.html else ""
        return replace(self, text=f"{self.text.rstrip()}\n\n{sentence}\n", html=fragment)


@dataclass(frozen=True)
class Refusal:
    """What the mail server said of a recipient whom it did not take.

    :param code: of the reply; 4xx may be taken later
    """

    code: int
    reply: str

    @property
    def passing(self) -> bool:
        """Whether another try may succeed."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.reply}"


@dataclass(frozen=True)
class Receipt:
    """What a server said when it took a message.

    :param ts: Slack's name of the post
    :param thread: ts of the first post of the thread that it is in; empty when it stands by itself
    :param refused: the recipients that the mail server did not take, while it took others
    :param tries: how often it was tried until it was taken
    """

    ts: str = ""
    thread: str = ""
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    tries: int = 1


def _paragraphs(text: str) -> str:
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    return "\n".join(f"<p>{html.escape(part).replace(chr(10), '<br />' + chr(10))}</p>" for part in parts)
