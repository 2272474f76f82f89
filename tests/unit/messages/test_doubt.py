"""What may have arrived is not told again at once, and says so when it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import IncompleteRead, RemoteDisconnected
from urllib.error import URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import LedgerUnavailable, MessageError, MessageUnanswered
from include.messages.deliver import FAILED, SENT, deliver
from include.messages.doubt import LONGEST_URGENT_WAIT, LONGEST_WAIT, URGENT_WAIT, WAIT, wait_after
from include.messages.model import Message, Receipt
from include.messages.slack import unposted
from tests.memory import DyingLedger, MemoryLedger

T = datetime(2026, 7, 1, 12, tzinfo=UTC)
ALERT = Message("key", "slack", "3.0.0", "production", "run", "Text\n", channel="#alerts", urgent=True)


class Mute:
    """Takes every message, and answers none of them."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.answers = False

    def __call__(self, message: Message) -> Receipt:
        self.got.append(message)
        if self.answers:
            return Receipt(ts="1.0")
        raise MessageUnanswered("no answer", seen="TimeoutError")


def test_it_is_sent_again_after_a_while_and_says_that_it_may_arrive_twice() -> None:
    ledger, slack = MemoryLedger(), Mute()
    with pytest.raises(MessageUnanswered) as caught:
        deliver(ledger, ALERT, slack, T)
    assert (caught.value.recorded, caught.value.wait_seconds, caught.value.retryable) == (True, URGENT_WAIT, True)
    for seconds in (1, 15, 29):
        with pytest.raises(MessageUnanswered, match="is not sent again yet") as waiting:
            deliver(ledger, ALERT, slack, T + timedelta(seconds=seconds))
        assert waiting.value.wait_seconds == URGENT_WAIT - seconds
    assert len(slack.got) == 1
    slack.answers = True
    assert deliver(ledger, ALERT, slack, T + timedelta(seconds=30)).sent
    assert slack.got[1].text == (
        "Text\n\nBeim letzten Versuch kam keine Antwort: Diese Nachricht kann doppelt ankommen.\n"
    )
    assert not deliver(ledger, ALERT, slack, T + timedelta(days=1)).sent
    assert [entry.kind for entry in ledger.written] == [FAILED, SENT]


@pytest.mark.parametrize(("urgent", "most"), [(True, 52), (False, 11)])
def test_hours_of_silence_are_no_flood(*, urgent: bool, most: int) -> None:
    ledger, slack = MemoryLedger(), Mute()
    for second in range(0, 4 * 3600, 12):
        with pytest.raises(MessageUnanswered):
            deliver(ledger, replace(ALERT, urgent=urgent), slack, T + timedelta(seconds=second))
    assert len(slack.got) <= most


def test_what_was_not_taken_for_sure_is_tried_at_once() -> None:
    ledger, slack = MemoryLedger(), Mute()
    for _ in range(3):
        with pytest.raises(MessageError):
            deliver(ledger, ALERT, lambda message: (_ for _ in ()).throw(MessageError("refused")), T)
    slack.answers = True
    assert deliver(ledger, ALERT, slack, T).sent
    assert "doppelt" not in slack.got[0].text


def test_the_doubt_about_one_message_delays_no_other() -> None:
    ledger, slack = MemoryLedger(), Mute()
    with pytest.raises(MessageUnanswered):
        deliver(ledger, ALERT, slack, T)
    slack.answers = True
    assert deliver(ledger, replace(ALERT, key="other"), slack, T).sent


@pytest.mark.parametrize("ledger", [None, DyingLedger(), DyingLedger(answers=2)])
def test_without_a_record_whoever_tries_has_to_wait_himself(ledger: MemoryLedger | None) -> None:
    with pytest.raises(MessageUnanswered) as caught:
        deliver(ledger, ALERT, Mute(), T)
    assert (caught.value.recorded, caught.value.wait_seconds) == (False, URGENT_WAIT)


def test_what_can_wait_waits_for_a_ledger_that_knows_of_no_doubt() -> None:
    slack = Mute()
    with pytest.raises(LedgerUnavailable):
        deliver(DyingLedger(answers=1), replace(ALERT, urgent=False), slack, T)
    assert slack.got == []


@given(times=st.integers(1, 10_000), urgent=st.booleans())
def test_the_wait_grows_within_bounds(*, times: int, urgent: bool) -> None:
    message = replace(ALERT, urgent=urgent)
    first, longest = (URGENT_WAIT, LONGEST_URGENT_WAIT) if urgent else (WAIT, LONGEST_WAIT)
    assert first <= wait_after(message, times) <= wait_after(message, times + 1) <= longest


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (URLError(ConnectionRefusedError()), False),
        (URLError(TimeoutError("timed out")), False),
        (TimeoutError("The read operation timed out"), True),
        (RemoteDisconnected("Remote end closed connection"), True),
        (ConnectionResetError(), True),
        (IncompleteRead(b""), True),
        (ValueError("no token"), False),
    ],
)
def test_slack_may_have_taken_what_it_was_asked(error: Exception, *, asked: bool) -> None:
    found = unposted(ALERT, error)
    assert isinstance(found, MessageUnanswered) == asked
    assert type(error).__name__ in found.seen
