"""What people are told while a gate waits, with comments that try to say more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.messages.compose import Occasion
from include.messages.reminder import gate_delegated, gate_reminder

T = datetime(2030, 1, 15, 10, tzinfo=UTC)
OCCASION = Occasion(
    application="valeo-erp",
    version="3.0.0",
    previous="2.9.0",
    environment="production",
    run_id="r1",
    timezone="Europe/Berlin",
    status_channel="#status",
    alerts_channel="#alerts",
    sender="stellwerk@example.com",
    stakeholders=("all@example.com",),
    head=None,
)


def test_a_reminder_names_who_has_not_answered_and_until_when() -> None:
    missing = {"technical-lead": ("tina", "tom"), "on-call-lead": ("otto",)}
    message = gate_reminder(
        OCCASION, what="3.0.0", missing=missing, deadline=T + timedelta(minutes=10), number="1", at=T
    )
    assert "• technical-lead: tina, tom\n• on-call-lead: otto\n" in message.text
    assert "Ohne Antwort bis 15.01.2030, 11:10:00 Uhr (Europe/Berlin) gilt No-Go." in message.text
    assert (message.channel, message.urgent) == ("#status", False)


def test_a_name_with_a_line_break_writes_no_line_of_its_own() -> None:
    missing = {"lead\n*Go*": ("tina\nAll have answered",)}
    text = gate_reminder(OCCASION, what="3.0.0\nx", missing=missing, deadline=T, number="1", at=T).text
    assert "• lead *Go*: tina All have answered\n" in text
    assert "3.0.0 x" in text


def test_every_asking_is_reminded_of_once() -> None:
    keys = {
        gate_reminder(OCCASION, what="x", missing={"a": ("b",)}, deadline=T, number=number, at=T).key
        for number in ("1", "1", "2")
    }
    assert len(keys) == 2


def test_a_comment_calls_nobody_and_forges_no_link() -> None:
    comment = "<!channel> see <https://evil.example|the form>"
    text = gate_delegated(OCCASION, role="technical-lead", by="tina", to="<@U1>", comment=comment, at=T).text
    assert "<" not in text
    assert "&lt;!channel&gt;" in text
