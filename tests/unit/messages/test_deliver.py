from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from include.errors import LedgerUnavailable, MessageBusy, MessageError
from include.ledger.chain import GENESIS
from include.ledger.entry import Entry, NewEntry, canonical
from include.messages.deliver import FAILED, SENT, deliver, key_of
from include.messages.model import Attachment, Message

T = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Memory:
    """A ledger in memory that can be made to fail."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []
        self.failing: set[str] = set()
        self.busy: set[str] = set()

    def find(self, key: str) -> Entry | None:
        self._answer("find")
        found = [new for new in self.entries if new.key == key]
        if not found:
            return None
        new = found[0]
        text = canonical(dict(new.payload))
        return Entry(1, new.kind, "3.0.0", "production", "run", "x", key, T, T, text, GENESIS, GENESIS)

    def append(self, new: NewEntry) -> Entry:
        self._answer("append")
        if new.key is None or not any(entry.key == new.key for entry in self.entries):
            self.entries.append(new)
        return Entry(1, new.kind, "3.0.0", "production", "run", "x", new.key, T, T, "{}", GENESIS, GENESIS)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        self._answer("find")
        yield what not in self.busy

    def _answer(self, call: str) -> None:
        if call in self.failing:
            raise LedgerUnavailable("the ledger's database gives no answer")


class Slack:
    """A transport that can be made to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.got: list[Message] = []

    def __call__(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.got.append(message)


def message(*, urgent: bool = False) -> Message:
    return Message("key", "slack", "3.0.0", "production", "run", "Text\n", channel="#alerts", urgent=urgent)


def test_a_message_goes_out_once() -> None:
    ledger, slack = Memory(), Slack()
    first, second = (deliver(ledger, message(), slack, T) for _ in range(2))
    assert (first.sent, first.recorded, second.sent, second.recorded) == (True, True, False, True)
    assert slack.got == [message()]
    (entry,) = ledger.entries
    assert (entry.kind, entry.at, entry.payload["channel"]) == (SENT, T, "#alerts")
    assert entry.payload["message_id"] == message().message_id


def test_a_failure_is_recorded_each_time_and_does_not_count_as_sent() -> None:
    ledger, broken = Memory(), Slack(OSError("connection refused"))
    for _ in range(2):
        with pytest.raises(MessageError, match="connection refused") as caught:
            deliver(ledger, message(), broken, T)
        assert caught.value.retryable
    assert [entry.kind for entry in ledger.entries] == [FAILED, FAILED]
    assert ledger.entries[0].payload["error"] == "OSError: connection refused"
    assert deliver(ledger, message(), Slack(), T).sent


def test_the_transports_own_sentence_is_kept() -> None:
    with pytest.raises(MessageError, match=r"^Slack said no$"):
        deliver(Memory(), message(), Slack(MessageError("Slack said no")), T)


def test_a_failure_that_cannot_be_recorded_is_still_the_transports() -> None:
    ledger = Memory()
    ledger.failing = {"append"}
    with pytest.raises(MessageError, match="refused"):
        deliver(ledger, message(), Slack(OSError("refused")), T)


@pytest.mark.parametrize("opened", [True, False])
def test_an_urgent_message_goes_out_without_the_ledger_and_says_so(*, opened: bool) -> None:
    ledger, slack = Memory(), Slack()
    ledger.failing = {"find", "append"}
    done = deliver(ledger if opened else None, message(urgent=True), slack, T)
    assert (done.sent, done.recorded) == (True, False)
    assert slack.got[0].text == (
        "Text\n\nDas Ledger war beim Senden nicht erreichbar: Diese Nachricht kann doppelt ankommen.\n"
    )


def test_a_message_that_can_wait_waits_for_the_ledger() -> None:
    slack = Slack()
    for ledger in (None, Memory()):
        if ledger is not None:
            ledger.failing = {"find"}
        with pytest.raises(LedgerUnavailable):
            deliver(ledger, message(), slack, T)
    assert slack.got == []


def test_a_record_that_fails_after_acceptance_is_no_failure() -> None:
    ledger, slack = Memory(), Slack()
    ledger.failing = {"append"}
    done = deliver(ledger, message(), slack, T)
    assert (done.sent, done.recorded) == (True, False)


@pytest.mark.parametrize("urgent", [True, False])
def test_two_processes_do_not_send_it_at_once(*, urgent: bool) -> None:
    ledger, slack = Memory(), Slack()
    ledger.busy = {key_of("key")}
    with pytest.raises(MessageBusy) as caught:
        deliver(ledger, message(urgent=urgent), slack, T)
    assert caught.value.retryable
    assert (slack.got, ledger.entries) == ([], [])


def test_what_went_with_a_mail_is_in_the_ledger() -> None:
    ledger = Memory()
    file = Attachment("post-mortem.ics", "text/calendar", b"BEGIN:VCALENDAR")
    mail = Message(
        "key", "mail", "3.0.0", "production", "run", "Text", sender="a@b", recipients=("c@d",), subject="S",
        attachments=(file,),
    )  # fmt: skip
    deliver(ledger, mail, Slack(), T)
    assert ledger.entries[0].payload["attachments"] == [{"name": "post-mortem.ics", "sha256": file.digest}]
