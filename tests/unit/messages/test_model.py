from __future__ import annotations

from typing import Any

import pytest

from include.errors import MessageError
from include.messages.model import Message

MAIL: dict[str, Any] = {
    "key": "3.0.0@production/run:message:mail",
    "kind": "mail",
    "release": "3.0.0",
    "environment": "production",
    "run_id": "run",
    "text": "Guten Tag\nzusammen\n\nEnde",
    "sender": "release@valeo.example",
    "recipients": ("a@valeo.example",),
    "subject": "Betreff",
}
SLACK: dict[str, Any] = {
    **MAIL,
    "kind": "slack",
    "channel": "#alerts",
    "sender": "",
    "recipients": (),
    "subject": "",
}


def test_the_message_id_depends_on_the_key_alone() -> None:
    first, again = Message(**MAIL), Message(**{**MAIL, "text": "anders", "subject": "anders"})
    assert first.message_id == again.message_id
    assert first.message_id.endswith("@valeo.example>")
    assert Message(**{**MAIL, "key": "other"}).message_id != first.message_id
    assert Message(**{**MAIL, "sender": "Release <r@valeo.example>"}).message_id == first.message_id


@pytest.mark.parametrize("part", ["key", "text", "sender", "recipients", "subject"])
def test_a_mail_needs_every_part(part: str) -> None:
    with pytest.raises(MessageError, match="without"):
        Message(**{**MAIL, part: () if part == "recipients" else ""})


def test_a_slack_message_needs_a_channel_and_no_subject() -> None:
    assert Message(**SLACK).channel == "#alerts"
    with pytest.raises(MessageError, match="channel"):
        Message(**{**SLACK, "channel": ""})


@pytest.mark.parametrize("part", ["subject", "sender", "channel"])
def test_nobody_can_write_headers(part: str) -> None:
    with pytest.raises(MessageError, match="line break"):
        Message(**{**MAIL, part: "x\r\nBcc: everybody@example.com"})


def test_html_is_escaped() -> None:
    page = Message(**{**MAIL, "text": "<script>\nzweite & Zeile\n\n\nEnde\n"}).html
    assert page == "<p>&lt;script&gt;<br>\nzweite &amp; Zeile</p>\n<p>Ende</p>"
