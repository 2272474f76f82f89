"""A message as a post: what Slack is asked, what its answers mean, how long it is asked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from typing import Any, Final
from urllib.error import URLError

from include.errors import MessageError, MessageRefused, MessageUnanswered
from include.messages.model import Message, Receipt

log = logging.getLogger(__name__)

PATIENCE: Final = 30.0
"""Seconds that one delivery may spend waiting for Slack; then it is its task's turn to try again."""

URGENT_PATIENCE: Final = 5.0
"""The same for what is urgent: whoever sends it has other ways."""

_MOST_TRIES: Final = 4
_TOO_MANY: Final = 429
_GATEWAY_TIMEOUT: Final = 504

_CREDENTIALS: Final = "give the Slack connection a valid bot token"
_SCOPE: Final = "give the Slack app the scope chat:write and install it again"
_CHANNEL: Final = (
    "create the channel or correct its name: `messages` of the environment, `communication.status` of the release"
)
_REPORT: Final = "report it: a message as Stellwerk makes it has to be accepted"
_REFUSED: Final[Mapping[str, str]] = {
    "channel_not_found": _CHANNEL,
    "is_archived": _CHANNEL,
    "not_in_channel": "invite the Slack app into the channel",
    "restricted_action": "allow the Slack app to post in the channel",
    "invalid_auth": _CREDENTIALS,
    "not_authed": _CREDENTIALS,
    "account_inactive": _CREDENTIALS,
    "token_revoked": _CREDENTIALS,
    "token_expired": _CREDENTIALS,
    "not_allowed_token_type": _CREDENTIALS,
    "missing_scope": _SCOPE,
    "no_permission": _SCOPE,
    "access_denied": _SCOPE,
    "msg_too_long": _REPORT,
    "no_text": _REPORT,
    "invalid_arguments": _REPORT,
}
# The post that the thread began with takes no replies any more.
_NO_THREAD: Final = ("cannot_reply_to_message", "thread_not_found")


@dataclass(frozen=True)
class Reply:
    """What Slack answered.

    :param status: of HTTP
    :param retry_after: seconds after which Slack wants to be asked again; None when it does not say
    """

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None

    @property
    def code(self) -> str:
        """Slack's word for the error; empty when it has taken the message."""
        return "" if self.body.get("ok") else str(self.body.get("error") or "no reason given")

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f", to be asked again after {self.retry_after:g} s"
        return f"{self.code} (HTTP {self.status}{wait})"


Call = Callable[[Mapping[str, Any]], Reply]
"""Asks Slack once to post; raises when there is no answer."""


def request_of(message: Message) -> dict[str, Any]:
    """The arguments of ``chat.postMessage``."""
    arguments: dict[str, Any] = {
        "channel": message.channel,
        "text": message.text,
        # What a comment links to is not fetched and shown.
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if message.thread:
        arguments |= {"thread_ts": message.thread, "reply_broadcast": message.broadcast}
    return arguments


def pause(reply: Reply, *, tries: int, spent: float, patience: float) -> float | None:
    """Seconds until the next try; None when it is no use, or not this delivery's any more.

    :param tries: how often Slack was asked
    :param spent: seconds since the first time
    """
    if reply.code in _REFUSED or tries >= _MOST_TRIES:
        return None
    wait = float(2 ** (tries - 1))
    if reply.status == _TOO_MANY:
        wait = max(wait, reply.retry_after or 0.0)
    return wait if spent + wait <= patience else None


def post(
    message: Message,
    call: Call,
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Receipt:
    """Post a message; ask again where Slack is busy or failing, as long as :data:`PATIENCE` lasts.

    :raises MessageRefused: asking again is no use
    :raises MessageUnanswered: a gateway has waited for Slack in vain
    :raises MessageError: Slack did not take it so far
    """
    began, tries = clock(), 0
    patience = URGENT_PATIENCE if message.urgent else PATIENCE
    while True:
        reply, tries = call(request_of(message)), tries + 1
        if not reply.code:
            return _receipt(reply, tries)
        if reply.status == _GATEWAY_TIMEOUT:
            raise _unanswered(message, str(reply))
        if message.thread and reply.code in _NO_THREAD:
            message = replace(message, thread="")
            continue
        wait = pause(reply, tries=tries, spent=clock() - began, patience=patience)
        if wait is None:
            raise _error(message, reply, tries)
        log.info("Slack did not take %s: %s; asking again in %g s", message.key, reply, wait)
        sleep(wait)


def unposted(message: Message, error: Exception) -> MessageError:
    """What it means that asking Slack has raised: it was not asked, and has not taken it; or nobody knows."""
    seen = f"{type(error).__name__}: {error}"
    # urllib raises URLError until the request is out; whatever else breaks does so while its answer is awaited.
    if isinstance(error, OSError | HTTPException) and not isinstance(error, URLError):
        return _unanswered(message, seen)
    return MessageError(
        f"Slack did not take {message.key}",
        expected="the message accepted",
        seen=seen,
        remedy="tell people by other means; the task tries again by itself",
    )


def _unanswered(message: Message, seen: str) -> MessageUnanswered:
    return MessageUnanswered(
        f"Slack has not said whether it took {message.key}",
        expected="an answer",
        seen=seen,
        remedy=f"look into {message.channel}; the task tries again after a while",
    )


def _receipt(reply: Reply, tries: int) -> Receipt:
    posted = reply.body.get("message")
    thread = posted.get("thread_ts") if isinstance(posted, Mapping) else None
    return Receipt(ts=str(reply.body.get("ts") or ""), thread=str(thread or ""), tries=tries)


def _error(message: Message, reply: Reply, tries: int) -> MessageError:
    remedy = _REFUSED.get(reply.code)
    kind = MessageRefused if remedy else MessageError
    return kind(
        f"Slack did not take {message.key}",
        expected=f"the message accepted in {message.channel}",
        seen=f"{reply}, asked {tries} time{'s' if tries > 1 else ''}",
        remedy=f"{remedy}, then clear the task" if remedy else "tell people by other means; the task tries again",
    )
