from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from include.errors import MessageError
from include.messages.model import Message, Refusal

XHTML = "{http://www.w3.org/1999/xhtml}"

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


def test_nobody_is_shown_who_could_write_headers() -> None:
    with pytest.raises(MessageError, match="line break"):
        Message(**MAIL, shown_to=("all\nBcc: x@y",))


@pytest.mark.parametrize("part", ["subject", "sender", "channel"])
def test_nobody_can_write_headers(part: str) -> None:
    with pytest.raises(MessageError, match="line break"):
        Message(**{**MAIL, part: "x\r\nBcc: everybody@example.com"})


def body_of(message: Message) -> str:
    """The page's body, as an XML parser reads it."""
    page = ET.fromstring(message.page)
    assert page.attrib["lang"] == message.language
    (body,) = page.findall(f"{XHTML}body")
    return "".join(body.itertext())


def test_html_is_escaped_and_well_formed() -> None:
    hostile = Message(**{**MAIL, "text": "<script>\nzweite & Zeile\n\n\nEnde\n", "subject": "</title><b>"})
    assert "<p>&lt;script&gt;<br />\nzweite &amp; Zeile</p>\n<p>Ende</p>" in hostile.page
    assert "<title>&lt;/title&gt;&lt;b&gt;</title>" in hostile.page
    assert "<script>" in body_of(hostile)


@pytest.mark.parametrize("html", ["", "<p>made of <b>Markdown</b></p>"])
def test_a_senders_note_stands_in_text_and_html(html: str) -> None:
    noted = Message(**{**MAIL, "html": html}).noted("It may arrive <twice>.")
    assert noted.text.endswith("\n\nIt may arrive <twice>.\n")
    assert body_of(noted).strip().endswith("It may arrive <twice>.")
    assert ("made of" in noted.page) == bool(html)


@pytest.mark.parametrize(("code", "passing"), [(450, True), (421, True), (550, False), (250, False)])
def test_only_a_4xx_reply_may_pass(code: int, passing: bool) -> None:
    refusal = Refusal(code, "no")
    assert (refusal.passing, str(refusal)) == (passing, f"{code} no")
