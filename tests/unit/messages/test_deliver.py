from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.errors import LedgerUnavailable, MessageBusy, MessageError, MessageIncomplete, MessageRefused
from include.ledger.chain import GENESIS
from include.ledger.entry import Entry, NewEntry, canonical
from include.messages.deliver import FAILED, SENT, deliver, key_of
from include.messages.model import Attachment, Message, Receipt, Refusal

T = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Memory:
    """A ledger in memory that can be made to fail."""

    def __init__(self) -> None:
        self.written: list[NewEntry] = []
        self.failing: set[str] = set()
        self.busy: set[str] = set()

    def find(self, key: str) -> Entry | None:
        self._answer("find")
        found = [new for new in self.written if new.key == key]
        if not found:
            return None
        new = found[0]
        text = canonical(dict(new.payload))
        return Entry(1, new.kind, "3.0.0", "production", "run", "x", key, T, T, text, GENESIS, GENESIS)

    def append(self, new: NewEntry) -> Entry:
        self._answer("append")
        if new.key is None or not any(entry.key == new.key for entry in self.written):
            self.written.append(new)
        return Entry(1, new.kind, "3.0.0", "production", "run", "x", new.key, T, T, "{}", GENESIS, GENESIS)

    def entries(self, *, release: str, environment: str, kinds: Sequence[str]) -> tuple[Entry, ...]:
        self._answer("threads" if SENT in kinds else "entries")
        return tuple(
            Entry(
                number,
                new.kind,
                release,
                environment,
                "run",
                "x",
                new.key,
                T,
                T,
                canonical(dict(new.payload)),
                "",
                "",
            )
            for number, new in enumerate(self.written, 1)
            if new.kind in kinds and (new.release, new.environment) == (release, environment)
        )

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        self._answer("find")
        yield what not in self.busy

    def _answer(self, call: str) -> None:
        if call in self.failing:
            raise LedgerUnavailable("the ledger's database gives no answer")


class Slack:
    """A transport that can be made to fail, and that answers what it is told to."""

    def __init__(self, error: Exception | None = None, *answers: Receipt) -> None:
        self.error = error
        self.answers = list(answers)
        self.got: list[Message] = []

    def __call__(self, message: Message) -> Receipt | None:
        if self.error is not None:
            raise self.error
        self.got.append(message)
        return self.answers.pop(0) if self.answers else None


def message(*, urgent: bool = False) -> Message:
    return Message("key", "slack", "3.0.0", "production", "run", "Text\n", channel="#alerts", urgent=urgent)


def test_a_message_goes_out_once() -> None:
    ledger, slack = Memory(), Slack()
    first, second = (deliver(ledger, message(), slack, T) for _ in range(2))
    assert (first.sent, first.recorded, second.sent, second.recorded) == (True, True, False, True)
    assert slack.got == [message()]
    (entry,) = ledger.written
    assert (entry.kind, entry.at, entry.payload["channel"]) == (SENT, T, "#alerts")
    assert entry.payload["message_id"] == message().message_id


def test_a_failure_is_recorded_each_time_and_does_not_count_as_sent() -> None:
    ledger, broken = Memory(), Slack(OSError("connection refused"))
    for _ in range(2):
        with pytest.raises(MessageError, match="connection refused") as caught:
            deliver(ledger, message(), broken, T)
        assert caught.value.retryable
    assert [entry.kind for entry in ledger.written] == [FAILED, FAILED]
    assert ledger.written[0].payload["error"] == "OSError: connection refused"
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
    assert (slack.got, ledger.written) == ([], [])


def test_what_went_with_a_mail_is_in_the_ledger() -> None:
    ledger = Memory()
    file = Attachment("post-mortem.ics", "text/calendar", b"BEGIN:VCALENDAR")
    mail = Message(
        "key", "mail", "3.0.0", "production", "run", "Text", sender="a@b", recipients=("c@d",), subject="S",
        attachments=(file,),
    )  # fmt: skip
    deliver(ledger, mail, Slack(), T)
    assert ledger.written[0].payload["attachments"] == [{"name": "post-mortem.ics", "sha256": file.digest}]


def test_the_doubt_is_told_in_the_language_of_the_message() -> None:
    slack = Slack()
    deliver(None, replace(message(urgent=True), language="en"), slack, T)
    assert slack.got[0].text.endswith(
        "\n\nThe ledger was out of reach when this was sent: this message may arrive twice.\n"
    )


# -- threads -------------------------------------------------------------------------------------------------


def status(key: str, channel: str = "#status", environment: str = "production") -> Message:
    return Message(key, "slack", "3.0.0", environment, "run", "Text\n", channel=channel, threaded=True)


def sent(ledger: Memory | None, one: Message, slack: Slack) -> str:
    """Which thread a post went into."""
    deliver(ledger, one, slack, T)
    return slack.got[-1].thread


def test_a_release_has_one_thread_for_each_environment_and_channel() -> None:
    ledger = Memory()
    slack = Slack(
        None, *(Receipt(ts=f"{number}.0", thread="" if number in (1, 4, 5) else "1.0") for number in range(1, 8))
    )
    assert sent(ledger, status("started"), slack) == ""
    assert sent(ledger, status("migrated"), slack) == "1.0"
    assert sent(ledger, status("cutover"), slack) == "1.0"
    assert sent(ledger, status("elsewhere", channel="#alerts"), slack) == ""
    assert sent(ledger, status("rehearsed", environment="staging"), slack) == ""
    assert sent(ledger, status("cleanup"), slack) == "1.0"
    assert ledger.written[0].payload["thread"] == "1.0"
    assert [entry.payload["ts"] for entry in ledger.written[:2]] == ["1.0", "2.0"]


def test_an_alert_is_in_no_thread_and_begins_none() -> None:
    ledger, slack = Memory(), Slack(None, Receipt(ts="1.0"), Receipt(ts="2.0"))
    alert = replace(message(urgent=True), channel="#status")
    assert sent(ledger, alert, slack) == ""
    assert sent(ledger, status("cutover"), slack) == ""
    assert "thread" not in ledger.written[0].payload
    assert ledger.written[1].payload["thread"] == "2.0"


def test_where_the_first_post_was_never_delivered_the_next_begins_the_thread() -> None:
    ledger = Memory()
    with pytest.raises(MessageError):
        deliver(ledger, status("started"), Slack(OSError("refused")), T)
    slack = Slack(None, Receipt(ts="2.0"), Receipt(ts="3.0", thread="2.0"))
    assert sent(ledger, status("migrated"), slack) == ""
    assert sent(ledger, status("cutover"), slack) == "2.0"


def test_where_the_first_post_was_not_recorded_the_next_begins_the_thread() -> None:
    ledger = Memory()
    ledger.failing = {"append"}
    slack = Slack(None, Receipt(ts="1.0"), Receipt(ts="2.0"), Receipt(ts="3.0", thread="2.0"))
    assert sent(ledger, status("started"), slack) == ""
    ledger.failing = set()
    assert [sent(ledger, status(key), slack) for key in ("migrated", "cutover")] == ["", "2.0"]


def test_a_thread_that_cannot_be_looked_up_keeps_nothing_from_being_said() -> None:
    ledger, slack = Memory(), Slack(None, Receipt(ts="1.0"), Receipt(ts="2.0"))
    sent(ledger, status("started"), slack)
    ledger.failing = {"threads"}
    assert sent(ledger, status("cutover"), slack) == ""


def test_a_thread_that_slack_has_dropped_is_followed_by_a_new_one() -> None:
    ledger = Memory()
    slack = Slack(None, Receipt(ts="1.0"), Receipt(ts="2.0"), Receipt(ts="3.0", thread="2.0"))
    assert [sent(ledger, status(key), slack) for key in ("a", "b", "c")] == ["", "1.0", "2.0"]


# -- recipients ----------------------------------------------------------------------------------------------

EVERYBODY = ("a@x", "b@x", "c@x")
NOBODY = Refusal(550, "no such user")
LATER = Refusal(450, "greylisted")


def a_mail() -> Message:
    return Message(
        "key", "mail", "3.0.0", "production", "run", "Text\n", sender="r@x", recipients=EVERYBODY, subject="S"
    )


def test_who_is_refused_is_named_and_the_others_have_it() -> None:
    ledger = Memory()
    done = deliver(ledger, a_mail(), Slack(None, Receipt(refused={"b@x": NOBODY})), T)
    assert str(done) == "key: sent; NOT to b@x: 550 no such user"
    (entry,) = ledger.written
    assert entry.payload["recipients"] == ["a@x", "c@x"]
    assert entry.payload["refused"] == {"b@x": "550 no such user"}
    again = deliver(ledger, a_mail(), Slack(), T)
    assert (again.sent, again.refused) == (False, {"b@x": "550 no such user"})


def test_who_is_put_off_gets_it_later_and_nobody_twice() -> None:
    ledger = Memory()
    server = Slack(None, Receipt(refused={"a@x": LATER, "b@x": NOBODY, "c@x": LATER}))
    with pytest.raises(MessageIncomplete, match="a@x: 450 greylisted") as caught:
        deliver(ledger, replace(a_mail(), recipients=(*EVERYBODY, "d@x")), server, T)
    assert caught.value.retryable
    server.answers = [Receipt(refused={"c@x": LATER})]
    with pytest.raises(MessageIncomplete, match="c@x"):
        deliver(ledger, a_mail(), server, T)
    assert deliver(ledger, a_mail(), server, T).sent
    assert not deliver(ledger, a_mail(), server, T).sent
    assert [one.recipients for one in server.got] == [(*EVERYBODY, "d@x"), ("a@x", "c@x"), ("c@x",)]
    assert len({one.message_id for one in server.got}) == 1
    assert [entry.payload["recipients"] for entry in ledger.written] == [["d@x"], ["a@x"], ["c@x"]]


def test_nobody_gets_it_again_because_it_could_not_be_recorded_who_was_put_off() -> None:
    ledger = Memory()
    ledger.failing = {"append"}
    done = deliver(ledger, a_mail(), Slack(None, Receipt(refused={"a@x": LATER})), T)
    assert (done.sent, done.recorded) == (True, False)


def test_what_is_refused_for_good_is_recorded_with_what_to_do() -> None:
    ledger = Memory()
    error = MessageRefused("Slack did not take it", seen="channel_not_found", remedy="create the channel")
    with pytest.raises(MessageRefused):
        deliver(ledger, message(), Slack(error), T)
    assert "do: create the channel" in ledger.written[0].payload["error"]


def test_how_often_it_was_tried_is_recorded() -> None:
    ledger = Memory()
    deliver(ledger, message(), Slack(None, Receipt(ts="1.0", tries=3)), T)
    assert ledger.written[0].payload["tries"] == 3
