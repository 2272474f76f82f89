from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email import message_from_string, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest

from include.sandbox.inbox import Fault, Inbox, set_fault
from include.sandbox.smtp import serve


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        server = await serve(Inbox(tmp_path / "inbox", "mail"), "127.0.0.1", 0)
        stack.callback(server.close)
        yield int(server.sockets[0].getsockname()[1])


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Rollback: Grüße von 3.0.1"
    message["From"] = "Über <release@valeo.example>"
    message["To"] = "all@valeo.example"
    message["Message-ID"] = "<1@valeo.example>"
    message.set_content("Größe\n.ein Punkt\n", cte="base64")
    message.add_alternative("<p>Größe</p>", subtype="html", cte="base64")
    message.add_attachment(b"\x00\x01\xff", maintype="application", subtype="octet-stream", filename="plan.bin")
    return message


def _send(port: int, message: EmailMessage, timeout: float = 10) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=timeout) as client:
        client.send_message(message, "from@valeo.example", ["a@valeo.example", "hidden@valeo.example"])


async def send(port: int, timeout: float = 10) -> None:
    await asyncio.get_running_loop().run_in_executor(None, partial(_send, port, mail(), timeout))


async def test_a_mail_becomes_a_readable_file(port: int, tmp_path: Path) -> None:
    await send(port)
    (file,) = (tmp_path / "inbox" / "mail").iterdir()
    assert file.name == "0001-Rollback-Grüße-von-3.0.1.eml"
    text = file.read_text()
    for line in ("Subject: Rollback: Grüße von 3.0.1", "X-Envelope-To: a@valeo.example, hidden@valeo.example"):
        assert f"\n{line}\n" in f"\n{text}"
    assert "\nGröße\n.ein Punkt\n" in text
    parsed = message_from_string(text, policy=policy.default)
    assert parsed["Message-ID"] == "<1@valeo.example>"
    (attachment,) = parsed.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("plan.bin", b"\x00\x01\xff")


@pytest.mark.parametrize(("mode", "code"), [("error", 554), ("busy", 451), ("refuse", 550)])
async def test_faults_are_shown_while_they_are_set(port: int, tmp_path: Path, mode: str, code: int) -> None:
    inbox = tmp_path / "inbox"
    set_fault(inbox, "mail", Fault(mode, "no room"))  # type: ignore[arg-type]
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        await send(port)
    assert (caught.value.smtp_code, b"no room" in caught.value.smtp_error) == (code, True)
    assert list((inbox / "mail").iterdir()) == []
    set_fault(inbox, "mail", None)
    await send(port)
    assert len(list((inbox / "mail").iterdir())) == 1


async def test_a_cut_connection_is_no_acceptance(port: int, tmp_path: Path) -> None:
    set_fault(tmp_path / "inbox", "mail", Fault("drop"))
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        await send(port)


async def test_a_hanging_server_answers_nothing(port: int, tmp_path: Path) -> None:
    set_fault(tmp_path / "inbox", "mail", Fault("hang"))
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        await send(port, timeout=0.3)


@pytest.mark.parametrize(("mode", "code"), [("refuse", 550), ("busy", 451)])
async def test_one_recipient_is_refused_and_the_others_get_it(
    port: int, tmp_path: Path, mode: str, code: int
) -> None:
    inbox = tmp_path / "inbox"
    set_fault(inbox, "mail", Fault(mode, "not you", recipient="hidden@valeo.example"))  # type: ignore[arg-type]

    def refused() -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            return client.send_message(mail(), "r@valeo.example", ["a@valeo.example", "hidden@valeo.example"])

    replies = await asyncio.get_running_loop().run_in_executor(None, refused)
    assert {address: reply[0] for address, reply in replies.items()} == {"hidden@valeo.example": code}
    (file,) = (inbox / "mail").iterdir()
    assert "\nX-Envelope-To: a@valeo.example\n" in file.read_text()
