from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.ledger.entry import Head
from include.messages import compose
from include.messages.compose import Rollback
from include.messages.limits import shortened
from include.messages.model import Message
from include.messages.occasion import Occasion

T = datetime(2026, 7, 1, 10, 0, 5, tzinfo=UTC)
HEAD = Head(42, "1a2b3c4d5e6f" + "0" * 52)
OCCASION = Occasion(
    application="valeo-erp",
    version="3.0.0",
    previous="2.9.0",
    environment="production",
    run_id="manual__1",
    timezone="Europe/Berlin",
    status_channel="#valeo-erp-status",
    alerts_channel="#valeo-erp-alerts",
    sender="release@valeo.example",
    stakeholders=("all@valeo.example", "support@valeo.example"),
    head=HEAD,
)
ROLLBACK = Rollback("green", "blue", "error rate 31 % of 2,100 requests", "watch", T, ("/healthz answers 200",))

STATUS = {
    "Deployment started": compose.deployment_started(OCCASION, by="anna", at=T),
    "Green deployment started": compose.slot_deployment_started(OCCASION, slot="green", at=T),
    "Traffic cutover to green": compose.traffic_cutover(OCCASION, slot="green", at=T),
    "Blue cleanup completed": compose.slot_cleanup_completed(OCCASION, slot="blue", at=T),
    "Deployment successful": compose.deployment_successful(OCCASION, slot="green", at=T),
}
OTHER = [
    compose.rollback_alert(OCCASION, ROLLBACK),
    compose.rollback_mail(OCCASION, ROLLBACK),
    compose.human_needed(OCCASION, what="no proof of health", seen="UNKNOWN", remedy="decide", at=T),
]


@pytest.mark.parametrize("line", STATUS)
def test_status_messages_keep_the_plans_words(line: str) -> None:
    message = STATUS[line]
    assert message.text.splitlines()[0] == f"*{line}*"
    assert (message.kind, message.channel, message.urgent) == ("slack", "#valeo-erp-status", False)
    assert "valeo-erp 2.9.0 → 3.0.0 · production · 01.07.2026, 12:00:05 Uhr (Europe/Berlin)" in message.text


def test_slot_names_are_put_in() -> None:
    assert compose.traffic_cutover(OCCASION, slot="blue", at=T).text.startswith("*Traffic cutover to blue*")
    assert compose.slot_cleanup_completed(OCCASION, slot="green", at=T).text.startswith(
        "*Green cleanup completed*"
    )


@pytest.mark.parametrize("message", [*STATUS.values(), *OTHER], ids=lambda message: message.key)
def test_every_message_ends_with_the_ledgers_head(message: Message) -> None:
    assert message.text.endswith("\nLedger 42:1a2b3c4d5e6f\n")
    assert Head.parse(message.text.split()[-1]) == Head(42, "1a2b3c4d5e6f")


def test_every_message_of_a_run_has_a_key_of_its_own() -> None:
    keys = [message.key for message in [*STATUS.values(), *OTHER]]
    assert len(set(keys)) == len(keys)
    again = compose.rollback_mail(replace(OCCASION, head=None), ROLLBACK)
    assert again.key in keys
    assert compose.rollback_mail(replace(OCCASION, run_id="manual__2"), ROLLBACK).key not in keys


def test_a_message_without_a_ledger_says_so() -> None:
    text = compose.rollback_alert(replace(OCCASION, head=None), ROLLBACK).text
    assert text.endswith("\nLedger nicht erreichbar, Eintrag folgt\n")


def test_the_alert_tells_what_happened() -> None:
    alert = compose.rollback_alert(OCCASION, ROLLBACK)
    assert (alert.channel, alert.urgent) == ("#valeo-erp-alerts", True)
    assert (
        "Um 12:00:05 wurden die Nutzer automatisch durch Stellwerk von Slot green (3.0.0) auf Slot blue (2.9.0)"
        in alert.text
    )
    assert "Grund: error rate 31 % of 2,100 requests" in alert.text
    assert "Geprüft: /healthz answers 200" in alert.text


def test_the_mail_tells_what_happened_and_what_comes_next() -> None:
    mail = compose.rollback_mail(OCCASION, replace(ROLLBACK, by="anna", verified=()))
    assert mail.subject == "[valeo-erp] Rollback von 3.0.0 auf 2.9.0 (production)"
    assert (mail.sender, mail.recipients) == (OCCASION.sender, OCCASION.stakeholders)
    assert mail.text.startswith("Guten Tag,\n\ndie Auslieferung von valeo-erp 3.0.0")
    assert "12:00:05 Uhr (Europe/Berlin), von anna\n" in mail.text
    assert "Danach geprüft" not in mail.text
    assert "Post-Mortem" in mail.text


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("watch", "automatisch durch Stellwerk"),
        ("rollback (scheduler)", "automatisch durch Stellwerk"),
        ("rollback (anna)", "von anna"),
        ("anna", "von anna"),
    ],
)
def test_who_switched_is_told(by: str, told: str) -> None:
    assert f"wurden die Nutzer {told} von Slot" in compose.rollback_alert(OCCASION, replace(ROLLBACK, by=by)).text


def test_a_reason_cannot_mention_the_channel_or_forge_a_link() -> None:
    evil = replace(ROLLBACK, reason="<!channel> <https://evil.example|click> & more")
    text = compose.rollback_alert(OCCASION, evil).text
    assert "&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; more" in text
    assert "<" not in text


def test_a_reason_cannot_add_lines_or_drown_the_message() -> None:
    evil = replace(ROLLBACK, reason="first\nLedger 1:ffffffffffff\n" + "x" * 9000)
    mail = compose.rollback_mail(OCCASION, evil)
    assert "\nLedger 1:" not in mail.text
    assert len(mail.text) < 4000
    assert shortened("x" * 9000).endswith("x…")
