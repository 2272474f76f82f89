"""A mail server that delivers to nobody: every accepted mail becomes a readable ``.eml`` file.

``python -m include.sandbox.smtp --port 8025 --inbox build/inbox``
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from include.sandbox.inbox import Inbox

_READABLE = policy.SMTP.clone(linesep="\n", cte_type="8bit", utf8=True, max_line_length=None, refold_source="all")
_FAILURES = {"error": "554 5.3.0", "busy": "451 4.3.2", "refuse": "550 5.7.1"}


class Sink:
    """Takes every mail, or fails as it is told."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The beginning of a mail: here faults show."""
        fault = self._inbox.fault()
        if fault is not None and fault.recipient:
            fault = None
        if fault is not None and fault.mode == "hang":
            await asyncio.sleep(3600)
        if fault is not None and fault.mode == "drop":
            _cut(server)
        if fault is not None and fault.mode in _FAILURES:
            return f"{_FAILURES[fault.mode]} {fault.reason}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """One recipient: it alone may be refused."""
        fault = self._inbox.fault()
        if fault is not None and fault.recipient == address and fault.mode in _FAILURES:
            return f"{_FAILURES[fault.mode]} {fault.reason}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The end of a mail: it is kept, whether the client hears of it or not."""
        content = envelope.original_content or b""
        mail = message_from_bytes(content, policy=policy.SMTP)
        assert isinstance(mail, EmailMessage)
        self._inbox.put(str(mail["Subject"] or "no subject"), ".eml", readable(mail, envelope))
        fault = self._inbox.fault()
        if fault is not None and fault.mode == "mute":
            await asyncio.sleep(3600)
        if fault is not None and fault.mode == "cut":
            _cut(server)
        return "250 2.0.0 kept"


def _cut(server: SMTP) -> None:
    transport = server.transport
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


def readable(mail: EmailMessage, envelope: Envelope) -> str:
    """The mail with its texts in plain UTF-8 instead of base64, and its envelope as X-Envelope headers."""
    for part in mail.walk():
        if part.get_content_maintype() == "text":
            assert isinstance(part, EmailMessage)
            kept = {name: value for name, value in part["Content-Type"].params.items() if name != "charset"}
            part.set_content(
                part.get_content(),
                subtype=part.get_content_subtype(),
                charset="utf-8",
                cte="8bit",
                disposition=part.get_content_disposition(),
                filename=part.get_filename(),
                params=kept,
            )
    mail["X-Envelope-From"] = envelope.mail_from or ""
    mail["X-Envelope-To"] = ", ".join(envelope.rcpt_tos)
    return mail.as_bytes(policy=_READABLE).decode("utf-8", "replace")


async def serve(inbox: Inbox, host: str, port: int) -> asyncio.Server:
    """Listen; the caller closes the server."""
    sink = Sink(inbox)
    return await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname="sandbox.invalid", enable_SMTPUTF8=True, ident="Stellwerk sandbox"), host, port
    )


async def _run(inbox: Inbox, host: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = await serve(inbox, host, port)
    print(f"======== smtp://{host}:{port} ========", flush=True)
    await ended.wait()
    server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.smtp", description="SMTP sink")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--inbox", type=Path, required=True, help="mails go to <inbox>/mail/")
    options = parser.parse_args(arguments)
    asyncio.run(_run(Inbox(options.inbox, "mail"), options.host, options.port))


if __name__ == "__main__":
    main()
