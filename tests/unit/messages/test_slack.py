"""What Slack is asked, and how long it is asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import MessageError, MessageRefused
from include.messages.model import Message
from include.messages.slack import PATIENCE, URGENT_PATIENCE, Reply, pause, post, request_of

POST = Message("key", "slack", "3.0.0", "production", "run", "Text\n", channel="#status", threaded=True)
TAKEN = Reply(200, {"ok": True, "ts": "1.5", "message": {"ts": "1.5"}})
BUSY = Reply(429, {"ok": False, "error": "ratelimited"}, 3.0)
BROKEN = Reply(503, {"ok": False, "error": "Received a response in a non-JSON format"})


def refused(code: str) -> Reply:
    return Reply(200, {"ok": False, "error": code})


@dataclass
class Slack:
    """Gives these answers, the last one for ever, and has a clock that only sleeping moves."""

    answers: list[Reply]
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def call(self, arguments: Mapping[str, Any]) -> Reply:
        self.asked.append(arguments)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def clock(self) -> Callable[[], float]:
        return lambda: sum(self.slept)

    def post(self, message: Message = POST) -> Any:
        return post(message, self.call, sleep=self.slept.append, clock=self.clock)


def test_a_post_is_taken_and_has_a_name() -> None:
    slack = Slack([TAKEN])
    receipt = slack.post()
    assert (receipt.ts, receipt.thread, receipt.tries, slack.slept) == ("1.5", "", 1, [])
    assert slack.asked == [{"channel": "#status", "text": "Text\n", "unfurl_links": False, "unfurl_media": False}]


@pytest.mark.parametrize("broadcast", [True, False])
def test_a_reply_names_its_thread(broadcast: bool) -> None:
    reply = replace(POST, thread="1.0", broadcast=broadcast)
    assert request_of(reply) | {"thread_ts": "1.0", "reply_broadcast": broadcast} == request_of(reply)
    slack = Slack([Reply(200, {"ok": True, "ts": "1.7", "message": {"thread_ts": "1.0"}})])
    assert (slack.post(reply).ts, slack.post(reply).thread) == ("1.7", "1.0")


@pytest.mark.parametrize("code", ["cannot_reply_to_message", "thread_not_found"])
def test_a_thread_that_takes_no_replies_keeps_nothing_from_being_said(code: str) -> None:
    slack = Slack([refused(code), TAKEN])
    assert slack.post(replace(POST, thread="1.0")).thread == ""
    assert ["thread_ts" in one for one in slack.asked] == [True, False]


def test_slack_says_when_it_wants_to_be_asked_again() -> None:
    slack = Slack([BUSY, BUSY, TAKEN])
    assert slack.post().tries == 3
    assert slack.slept == [3.0, 3.0]


@pytest.mark.parametrize(("urgent", "longest"), [(True, URGENT_PATIENCE), (False, PATIENCE)])
def test_nobody_waits_longer_than_the_message_may(urgent: bool, longest: float) -> None:
    for answer in (replace(BUSY, retry_after=longest + 1), BUSY, BROKEN):
        slack = Slack([answer])
        with pytest.raises(MessageError) as caught:
            slack.post(replace(POST, urgent=urgent))
        assert caught.value.retryable
        assert sum(slack.slept) <= longest
        assert f"HTTP {answer.status}" in caught.value.seen


def test_a_failing_slack_is_asked_again_after_longer_and_longer_waits() -> None:
    slack = Slack([BROKEN, BROKEN, BROKEN, TAKEN])
    assert slack.post().tries == 4
    assert slack.slept == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("channel_not_found", "create the channel"),
        ("not_in_channel", "invite"),
        ("invalid_auth", "token"),
        ("missing_scope", "chat:write"),
    ],
)
def test_what_is_refused_for_good_is_asked_once_and_says_what_to_do(code: str, remedy: str) -> None:
    slack = Slack([refused(code)])
    with pytest.raises(MessageRefused) as caught:
        slack.post()
    assert not caught.value.retryable
    assert len(slack.asked) == 1
    assert code in caught.value.seen
    assert "#status" in caught.value.expected
    assert remedy in caught.value.remedy


def test_an_unknown_error_may_pass() -> None:
    slack = Slack([refused("fatal_error"), TAKEN])
    assert slack.post().tries == 2


@given(
    status=st.sampled_from([200, 429, 500, 503]),
    code=st.sampled_from(["ratelimited", "invalid_auth", "fatal_error"]),
    retry_after=st.none() | st.floats(-1e9, 1e9),
    tries=st.integers(1, 9),
    spent=st.floats(0, 1e6),
)
def test_a_wait_is_bounded_whatever_slack_says(
    status: int, code: str, retry_after: float | None, tries: int, spent: float
) -> None:
    wait = pause(Reply(status, {"error": code}, retry_after), tries=tries, spent=spent, patience=PATIENCE)
    if wait is None:
        return
    assert code != "invalid_auth"
    assert 0 < wait <= PATIENCE - spent
    assert status != 429 or wait >= (retry_after or 0)
