"""A message as the mail that goes out, and what a mail server says to it."""

from __future__ import annotations

import smtplib
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from include.errors import MessageError, MessageRefused, MessageUnanswered
from include.messages.limits import shortened
from include.messages.model import Attachment, Message, Receipt, Refusal

_CALENDAR: Final = "text/calendar"
_FOR_GOOD: Final = 500
_LONGEST_REPLY: Final = 300


def mail_of(message: Message, now: datetime) -> EmailMessage:
    """Text, HTML, and the attachments; an appointment is also an alternative, which mail programs show as one.

    The Message-ID is the same for every attempt.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = message.sender
    mail["To"] = ", ".join(message.shown_to or message.recipients)
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message.message_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    mail.add_alternative(message.page, subtype="html")
    for one in message.attachments:
        if one.content_type == _CALENDAR:
            maintype, subtype = one.content_type.split("/")
            mail.add_alternative(one.content, maintype=maintype, subtype=subtype, params=dict(one.parameters))
    for one in message.attachments:
        _attach(mail, one)
    mail["Content-Language"] = message.language
    return mail


def _attach(mail: EmailMessage, one: Attachment) -> None:
    maintype, subtype = one.content_type.split("/")
    mail.add_attachment(
        one.content, maintype=maintype, subtype=subtype, filename=one.name, params=dict(one.parameters)
    )


def hand_over(client: smtplib.SMTP, message: Message, now: datetime) -> Receipt:
    """Give a mail to a server; whoever of the recipients is refused does not keep it from the others.

    :param client: connected, and used for nothing else
    :raises MessageUnanswered: the server got it and never said whether it took it
    :raises smtplib.SMTPException: the server took it for nobody, see :func:`undelivered`
    """
    begun: list[bool] = []
    data = client.data

    def noted(content: bytes | str) -> tuple[int, bytes]:
        begun.append(True)
        return data(content)

    client.data = noted  # type: ignore[method-assign, assignment]  # smtplib tells nobody how far it came
    try:
        refused = client.send_message(mail_of(message, now), message.sender, list(message.recipients))
    except OSError as error:
        if not begun or isinstance(error, smtplib.SMTPResponseException):
            raise
        raise MessageUnanswered(
            f"the mail server has not said whether it took {message.key}",
            expected="an answer",
            seen=f"{type(error).__name__}: {error}",
            remedy="ask a recipient; the task tries again after a while",
        ) from error
    return Receipt(refused={address: _refusal(*reply) for address, reply in refused.items()})


def undelivered(message: Message, error: Exception) -> MessageError:
    """What it means that the server did not take a mail: a 5xx reply is for good, all else may pass."""
    seen, refused, remedy = f"{type(error).__name__}: {error}", False, ""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        replies = {address: _refusal(*reply) for address, reply in error.recipients.items()}
        seen = "; ".join(f"{address}: {reply}" for address, reply in replies.items())
        refused = not any(reply.passing for reply in replies.values())
        remedy = "correct the addresses: `messages` of the environment"
    elif isinstance(error, smtplib.SMTPResponseException):
        reply = _refusal(error.smtp_code, error.smtp_error)
        seen = f"{type(error).__name__}: {reply}"
        outage = isinstance(error, smtplib.SMTPConnectError | smtplib.SMTPHeloError)
        refused = reply.code >= _FOR_GOOD and not outage
        remedy = (
            "correct the SMTP connection's user and password"
            if isinstance(error, smtplib.SMTPAuthenticationError)
            else "see why the mail server refuses it: `messages.mail_from`, its policy"
        )
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        refused, remedy = True, "use a mail server that can do this, or other addresses or credentials"
    kind = MessageRefused if refused else MessageError
    return kind(
        f"the mail server did not take {message.key}",
        expected="the message accepted",
        seen=seen,
        remedy=f"{remedy}, then clear the task" if refused else "tell people by other means; the task tries again",
    )


def _refusal(code: int, reply: bytes | str) -> Refusal:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return Refusal(code, shortened(text, _LONGEST_REPLY))
