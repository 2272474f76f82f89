"""What a step tells: each event once, in the release's language and thread; of a migration, what it has left."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from include.errors import LedgerUnavailable
from include.ledger.store import Ledger
from include.messages.model import Message
from include.plan.communication import Communication, StatusMessage
from include.steps.announce import Event, announce
from include.steps.record import APPROVED, STARTED, record
from include.steps.schema_proof import LEFT_OLD, MIGRATED, MIGRATION_INTENDED, TAKEN_BACK, WAY_BACK_INTENDED
from tests.unit.steps.database.worlds import a_ledger, a_run

RUN = a_run("r1")


def said(event: Event, *kinds: str) -> Message | None:
    """What is sent when these are in the ledger."""
    ledger, sent = a_ledger(), list[Message]()
    for kind in kinds:
        record(ledger, RUN, kind, {"began": 2})
    key = announce(RUN, event, ledger, {"slack": sent.append})
    assert (key is None) == (sent == [])
    return sent[0] if sent else None


@pytest.mark.parametrize("event", ["migration-failed", "migration-left"])
def test_of_a_run_that_nobody_decided_about_nobody_was_told_and_is(event: Event) -> None:
    assert said(event) is None


@pytest.mark.parametrize(
    ("kinds", "failed", "left", "line"),
    [
        ((), "nichts geändert", "nichts geändert", "Database unchanged"),
        ((MIGRATION_INTENDED, LEFT_OLD), "nichts geändert", "nichts geändert", "Database unchanged"),
        ((MIGRATION_INTENDED,), "wird festgestellt", "nicht zu Ende migriert", "Database left as it is"),
        (
            (MIGRATION_INTENDED, MIGRATED),
            "auf dem Stand von 3.0.0",
            "bleibt auf dem Stand von 3.0.0",
            "Database left as it is",
        ),
        (
            (MIGRATION_INTENDED, MIGRATED, WAY_BACK_INTENDED),
            "wird festgestellt",
            "nicht zu Ende migriert",
            "Database left as it is",
        ),
        (
            (MIGRATION_INTENDED, MIGRATED, WAY_BACK_INTENDED, TAKEN_BACK),
            "wird festgestellt",
            "wieder auf dem Stand von 2.9.0",
            "Database migration taken back",
        ),
    ],
)
def test_a_failure_is_told_at_once_and_what_it_has_left_at_the_end(
    kinds: tuple[str, ...], failed: str, left: str, line: str
) -> None:
    first, last = said("migration-failed", APPROVED, *kinds), said("migration-left", APPROVED, *kinds)
    assert first is not None
    assert last is not None
    assert first.text.startswith("*Database migration failed*")
    assert failed in first.text
    assert last.text.startswith(f"*{line}*")
    assert left in last.text
    assert first.key != last.key


def in_slots(ledger: Ledger) -> None:
    record(ledger, RUN, STARTED, {"from": "blue", "to": "green"})


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("deployment-started", "Deployment started"),
        ("slot-deployment-started", "Green deployment started"),
        ("migration-completed", "Database migration completed"),
        ("cutover", "Traffic cutover to green"),
        ("cleanup", "Blue cleanup completed"),
        ("successful", "Deployment successful"),
    ],
)
def test_the_plans_messages_go_to_its_channel_and_into_one_thread(event: Event, line: str) -> None:
    ledger, sent = a_ledger(), list[Message]()
    in_slots(ledger)
    done = [announce(RUN, event, ledger, {"slack": sent.append}) for _ in range(2)]
    assert [one.sent for one in done if one] == [True, False]
    assert sent[0].text.startswith(f"*{line}*\n")
    assert (sent[0].channel, sent[0].threaded) == ("#valeo-erp-status", True)


def test_every_message_of_the_plan_has_an_event() -> None:
    assert {one.event for one in RUN.release.communication.status} <= set(get_args(Event))
    assert {one.event for one in RUN.release.communication.mails} <= set(get_args(Event))


@pytest.mark.parametrize(
    ("wanted", "channel"), [("#valeo-erp-alerts", "#valeo-erp-alerts"), ("#other", "#valeo-erp-status")]
)
def test_the_plan_says_in_which_channel(wanted: str, channel: str) -> None:
    ledger, sent = a_ledger(), list[Message]()
    in_slots(ledger)
    status = (StatusMessage(event="cutover", at="12:00", channel=wanted),)
    release = RUN.release.model_copy(update={"communication": Communication(status=status)})
    announce(replace(RUN, release=release), "cutover", ledger, {"slack": sent.append})
    assert sent[0].channel == channel


def test_the_release_says_in_which_language() -> None:
    ledger, sent = a_ledger(), list[Message]()
    release = RUN.release.model_copy(update={"communication": Communication(language="en")})
    announce(replace(RUN, release=release), "deployment-started", ledger, {"slack": sent.append})
    assert "Started by rm." in sent[0].text


def test_without_the_ledger_a_message_waits_and_is_tried_again() -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        announce(RUN, "deployment-started", None, {})
    assert caught.value.retryable


def test_what_is_no_event_is_nothing_else_either() -> None:
    with pytest.raises(KeyError):
        announce(RUN, "released", a_ledger(), {})  # type: ignore[arg-type]
