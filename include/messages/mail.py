"""A message as the mail that goes out."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from include.messages.model import Attachment, Message

_CALENDAR = "text/calendar"


def mail_of(message: Message, now: datetime) -> EmailMessage:
    """Text, HTML, and the attachments; an appointment is also an alternative, which mail programs show as one.

    The Message-ID is the same for every attempt.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = message.sender
    mail["To"] = ", ".join(message.recipients)
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message.message_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    for one in message.attachments:
        if one.content_type == _CALENDAR:
            maintype, subtype = one.content_type.split("/")
            mail.add_alternative(one.content, maintype=maintype, subtype=subtype, params=dict(one.parameters))
    for one in message.attachments:
        _attach(mail, one)
    return mail


def _attach(mail: EmailMessage, one: Attachment) -> None:
    maintype, subtype = one.content_type.split("/")
    mail.add_attachment(
        one.content, maintype=maintype, subtype=subtype, filename=one.name, params=dict(one.parameters)
    )
