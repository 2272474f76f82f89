"""What may have arrived, because no answer came: when it is sent again, and that it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from include.errors import MessageError, MessageUnanswered
from include.ledger.entry import Entry
from include.messages.model import Message
from include.plan.communication import Language

UNANSWERED: Final = "unanswered"
"""Stands in the payload of a failure that may be none."""

URGENT_WAIT: Final = 30.0
"""Seconds until an urgent message is sent again; every further time twice as long."""

WAIT: Final = 300.0
"""The same for what can wait."""

LONGEST_URGENT_WAIT: Final = 300.0
LONGEST_WAIT: Final = 1800.0

_REPEATED: Final[Mapping[Language, str]] = {
    "de": "Beim letzten Versuch kam keine Antwort: Diese Nachricht kann doppelt ankommen.",
    "en": "The last try got no answer: this message may arrive twice.",
}


def unanswered(failed: Sequence[Entry], message: Message) -> tuple[datetime, ...]:
    """When the message was sent and got no answer, oldest first.

    :param failed: the ledger's entries of failures
    """
    return tuple(
        one.at for one in failed if one.payload.get("message") == message.key and one.payload.get(UNANSWERED)
    )


def wait_after(message: Message, times: int) -> float:
    """Seconds for which a message is not sent again.

    :param times: how often it was sent and got no answer
    """
    first, longest = (URGENT_WAIT, LONGEST_URGENT_WAIT) if message.urgent else (WAIT, LONGEST_WAIT)
    return float(min(longest, first * 2 ** min(times - 1, 10)))


def not_yet(message: Message, doubts: Sequence[datetime], now: datetime) -> MessageUnanswered | None:
    """Why the message is not sent again now; None when it may be.

    :param doubts: as :func:`unanswered` returns them
    """
    if not doubts:
        return None
    again = doubts[-1] + timedelta(seconds=wait_after(message, len(doubts)))
    if again <= now:
        return None
    error = MessageUnanswered(
        f"{message.key} may have arrived, and is not sent again yet",
        expected="an answer when it was sent",
        seen=f"none, {len(doubts)} time{'s' if len(doubts) > 1 else ''}",
        remedy=f"look whether it is there; it is sent again after {again:%H:%M:%S} UTC",
    )
    error.wait_seconds, error.recorded = (again - now).total_seconds(), True
    return error


def undelivered(message: Message, error: Exception, times: int, *, noted: bool) -> MessageError:
    """The transport's own error, with what is known of a doubt; for any other one that of a transport.

    :param times: how often the message was sent and got no answer, if this time was one
    :param noted: the ledger knows of the failure
    """
    if isinstance(error, MessageUnanswered):
        error.wait_seconds, error.recorded = wait_after(message, times), noted
    if isinstance(error, MessageError):
        return error
    return MessageError(
        f"{message.key} was not delivered",
        expected=f"{'Slack' if message.kind == 'slack' else 'the mail server'} to accept it",
        seen=f"{type(error).__name__}: {error}",
        remedy="tell people by other means; the message can be sent again",
    )


def repeated(message: Message) -> Message:
    """The message as it is sent again: it says that it may arrive twice."""
    return message.noted(_REPEATED[message.language])
