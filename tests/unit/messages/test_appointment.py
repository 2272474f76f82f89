from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from include.errors import MessageError
from include.messages.appointment import Appointment, meeting_time
from include.messages.mail import mail_of
from include.messages.model import Attachment, Message
from include.plan.deadlines import PostMortem

BERLIN = "Europe/Berlin"
T = datetime(2026, 7, 1, 10, 0, 5, tzinfo=UTC)
MEETING = Appointment(
    key="3.0.0@production/run:post-mortem",
    summary="Post-Mortem: Grüße, 3.0.0; alle",
    description="Grund: error rate\nLauf run",
    starts=meeting_time(T, PostMortem(), BERLIN),
    minutes=60,
    organizer="release@valeo.example",
    attendees=("all@valeo.example", "support@valeo.example"),
    noted=T,
    place="Raum 1",
)


def event_of(appointment: Appointment) -> Any:
    calendar: Any = Calendar.from_ical(appointment.attachment().content)
    assert calendar["METHOD"] == "REQUEST"
    assert [zone["TZID"] for zone in calendar.walk("VTIMEZONE")] == [BERLIN]
    (event,) = calendar.walk("VEVENT")
    return event


def test_the_calendar_says_who_meets_when() -> None:
    event = event_of(MEETING)
    assert event.decoded("dtstart") == datetime(2026, 7, 8, 10, tzinfo=ZoneInfo(BERLIN))
    assert event["dtstart"].params["TZID"] == BERLIN
    assert event.decoded("dtend") - event.decoded("dtstart") == timedelta(hours=1)
    assert event["organizer"] == "mailto:release@valeo.example"
    assert list(event["attendee"]) == ["mailto:all@valeo.example", "mailto:support@valeo.example"]
    assert {one.params["RSVP"] for one in event["attendee"]} == {"TRUE"}
    assert (event["summary"], event["location"]) == (MEETING.summary, "Raum 1")


def test_sent_again_it_is_the_same_appointment() -> None:
    assert MEETING.attachment() == MEETING.attachment()
    changed = replace(MEETING, starts=MEETING.starts + timedelta(hours=1), sequence=1)
    assert (event_of(changed)["uid"], event_of(changed)["sequence"]) == (event_of(MEETING)["uid"], 1)
    assert event_of(replace(MEETING, key="other"))["uid"] != event_of(MEETING)["uid"]


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(1, 60))
def test_nobody_meets_on_a_weekend_or_earlier_than_planned(since: datetime, days: int) -> None:
    found = meeting_time(since.replace(tzinfo=UTC), PostMortem(after_days=days, time="10:00"), BERLIN)
    local = since.replace(tzinfo=UTC).astimezone(ZoneInfo(BERLIN)).date()
    assert found.weekday() < 5
    assert (found.hour, found.minute) == (10, 0)
    assert days <= (found.date() - local).days <= days + 2


def test_a_time_that_the_day_does_not_have_is_the_next_hour() -> None:
    # The clocks go forward on a Sunday, which is never taken; elsewhere on a Friday (Jerusalem).
    since = datetime(2026, 3, 26, 12, tzinfo=UTC)
    found = meeting_time(since, PostMortem(after_days=1, time="02:30"), "Asia/Jerusalem")
    assert (found.date().isoformat(), found.hour, found.minute) == ("2026-03-27", 3, 30)


def a_mail(*attachments: Attachment) -> EmailMessage:
    message = Message(
        "key",
        "mail",
        "3.0.0",
        "production",
        "run",
        "Guten Tag <b>\nÜ\n",
        sender="release@valeo.example",
        recipients=("all@valeo.example",),
        subject="Einladung für alle",
        attachments=attachments,
    )
    parsed = message_from_bytes(mail_of(message, T).as_bytes(), policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert parsed["Message-ID"] == message.message_id
    return parsed


def test_an_appointment_is_an_alternative_and_a_file() -> None:
    mail = a_mail(MEETING.attachment())
    parts = [(part.get_content_type(), part.get_content_disposition()) for part in mail.walk()]
    assert parts == [
        ("multipart/mixed", None),
        ("multipart/alternative", None),
        ("text/plain", None),
        ("text/html", None),
        ("text/calendar", None),
        ("text/calendar", "attachment"),
    ]
    shown, file = (part for part in mail.walk() if part.get_content_type() == "text/calendar")
    assert shown["Content-Type"].params["method"] == "REQUEST"
    assert file.get_filename() == "post-mortem.ics"
    assert shown.get_payload(decode=True) == file.get_payload(decode=True) == MEETING.attachment().content


def test_a_mail_without_attachments_is_text_and_html() -> None:
    mail = a_mail()
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = mail.iter_parts()
    assert plain.get_content().splitlines() == ["Guten Tag <b>", "Ü"]
    assert "Guten Tag &lt;b&gt;<br />" in html.get_content()
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("Einladung für alle", "auto-generated")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a\r\nBcc: x@y"},
        {"content_type": "calendar"},
        {"content_type": "text/calendar\n"},
        {"parameters": (("method", ""),)},
        {"name": ""},
    ],
)
def test_an_attachment_cannot_write_headers(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"name": "a.ics", "content_type": "text/calendar", "content": b""}
    assert Attachment(**right).digest.startswith("e3b0c442")
    with pytest.raises(MessageError):
        Attachment(**{**right, **wrong})
