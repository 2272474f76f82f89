"""What a mail server says to a mail, and what that means."""

from __future__ import annotations

import smtplib
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any, cast

import pytest

from include.errors import MessageError, MessageRefused
from include.messages.mail import hand_over, mail_of, undelivered
from include.messages.model import Message

T = datetime(2026, 7, 1, 12, tzinfo=UTC)
MAIL = Message(
    "key",
    "mail",
    "3.0.0",
    "production",
    "run",
    "Text\n",
    sender="release@valeo.example",
    recipients=("a@valeo.example", "b@valeo.example"),
    subject="Betreff",
)


class Server:
    """Takes a mail for those whom it does not refuse."""

    def __init__(self, **refused: Any) -> None:
        self.refused = refused
        self.got: list[tuple[EmailMessage, str, list[str]]] = []

    def send_message(self, mail: EmailMessage, sender: str, to: list[str]) -> Any:
        self.got.append((mail, sender, to))
        self.data(b"")
        return {f"{name}@valeo.example": reply for name, reply in self.refused.items()}

    def data(self, content: bytes | str) -> tuple[int, bytes]:
        return 250, b"taken"


def given(server: Server, message: Message = MAIL) -> Any:
    return hand_over(cast(smtplib.SMTP, server), message, T)


def test_who_is_refused_does_not_keep_it_from_the_others() -> None:
    server = Server(b=(550, b"5.1.1 no such\r\n user"), a=(451, b"4.2.0 later"))
    receipt = given(server)
    assert {address: str(reply) for address, reply in receipt.refused.items()} == {
        "b@valeo.example": "550 5.1.1 no such user",
        "a@valeo.example": "451 4.2.0 later",
    }
    assert [address for address, reply in receipt.refused.items() if reply.passing] == ["a@valeo.example"]
    assert given(Server()).refused == {}


def test_people_do_not_read_each_others_addresses() -> None:
    server = Server()
    given(server, replace(MAIL, shown_to=("all-users:;", "support@valeo.example")))
    mail, sender, to = server.got[0]
    assert mail["To"] == "all-users:;, support@valeo.example"
    assert "a@valeo.example" not in mail.as_string()
    assert (sender, to) == (MAIL.sender, list(MAIL.recipients))


def test_a_mail_says_its_language() -> None:
    mail = mail_of(replace(MAIL, language="en"), T)
    assert mail["Content-Language"] == "en"
    assert mail["Auto-Submitted"] == "auto-generated"


NO_SUCH = (550, b"5.1.1 no such user")
LATER = (450, b"4.2.0 later")


@pytest.mark.parametrize(
    ("error", "for_good", "told"),
    [
        (smtplib.SMTPRecipientsRefused({"a@x": NO_SUCH, "b@x": NO_SUCH}), True, "b@x: 550 5.1.1 no such user"),
        (smtplib.SMTPRecipientsRefused({"a@x": NO_SUCH, "b@x": LATER}), False, "b@x: 450 4.2.0 later"),
        (smtplib.SMTPAuthenticationError(535, b"5.7.8 no"), True, "535 5.7.8 no"),
        (smtplib.SMTPAuthenticationError(454, b"4.7.0 later"), False, "454"),
        (smtplib.SMTPSenderRefused(550, b"5.7.1 policy", "a@x"), True, "550 5.7.1 policy"),
        (smtplib.SMTPDataError(451, b"busy"), False, "451 busy"),
        (smtplib.SMTPDataError(554, "spam"), True, "554 spam"),
        (smtplib.SMTPConnectError(554, b"not now"), False, "554 not now"),
        (smtplib.SMTPNotSupportedError("no SMTPUTF8"), True, "no SMTPUTF8"),
        (smtplib.SMTPServerDisconnected("gone"), False, "gone"),
        (TimeoutError("silent"), False, "silent"),
    ],
)
def test_a_5xx_reply_is_for_good_and_all_else_may_pass(error: Exception, for_good: bool, told: str) -> None:
    found = undelivered(MAIL, error)
    assert isinstance(found, MessageRefused) == for_good
    assert isinstance(found, MessageError)
    assert found.retryable != for_good
    assert told in found.seen
    assert ("clear the task" in found.remedy) == for_good
