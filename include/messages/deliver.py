"""Sends a message once and records it, whatever fails on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from include.errors import (
    LedgerError,
    LedgerUnavailable,
    MessageBusy,
    MessageIncomplete,
    MessageUnanswered,
)
from include.ledger.entry import Entry, NewEntry
from include.messages.doubt import UNANSWERED, not_yet, repeated, unanswered, undelivered
from include.messages.model import Message, Receipt
from include.plan.communication import Language

SENT = "message.sent"
FAILED = "message.failed"

Transport = Callable[[Message], object]
"""Hands the message over and returns when it was accepted, with a :class:`Receipt` where there is something to
tell; any exception means it was not accepted."""

_DOUBT: Final[Mapping[Language, str]] = {
    "de": "Das Ledger war beim Senden nicht erreichbar: Diese Nachricht kann doppelt ankommen.",
    "en": "The ledger was out of reach when this was sent: this message may arrive twice.",
}

log = logging.getLogger(__name__)


class Record(Protocol):
    """The part of the ledger that delivery needs."""

    def find(self, key: str) -> Entry | None:
        """The entry with this key."""

    def entries(self, *, release: str, environment: str, kinds: Sequence[str]) -> tuple[Entry, ...]:
        """The entries that fit, oldest first."""

    def append(self, new: NewEntry) -> Entry:
        """Write an entry; one with the same key is not written again."""

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Be the only process that does ``what`` while in this context; False when another one is at it."""


@dataclass(frozen=True)
class Delivery:
    """What became of a message.

    :param sent: it went out now; False when it had gone out before
    :param recorded: the ledger knows it
    :param refused: recipients whom the mail server did not take, with its reply; others have got it
    """

    key: str
    sent: bool
    recorded: bool
    refused: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = f"{self.key}: {'sent' if self.sent else 'had been sent before'}"
        return told + "".join(f"; NOT to {address}: {reply}" for address, reply in self.refused.items())


def deliver(
    ledger: Record | None, message: Message, transport: Transport, now: datetime, *, actor: str = "stellwerk"
) -> Delivery:
    """Send the message unless the ledger says that it went out before.

    Between acceptance and record a kill may let it go out a second time, with the same Message-ID. Without the
    ledger an urgent message goes out all the same and says that it may arrive twice. Recipients whom the mail
    server puts off get it by a later call, and they alone. What may have arrived, because no answer came, is sent
    again only after a while, and says so. A post goes into its release's thread; where that is not known it begins
    one.

    :param ledger: None when it cannot even be opened
    :raises MessageError: the transport failed; recorded where that is possible
    :raises MessageIncomplete: the mail server has put some recipients off
    :raises MessageUnanswered: no answer came, now or a moment ago, and it may have arrived
    :raises MessageBusy: another process is sending it
    :raises LedgerError: the ledger failed and the message can wait
    """
    with ExitStack() as stack:
        return _deliver(stack, ledger, message, transport, now, actor)


def _deliver(
    stack: ExitStack, ledger: Record | None, message: Message, transport: Transport, now: datetime, actor: str
) -> Delivery:
    try:
        if ledger is not None and not stack.enter_context(ledger.alone(key_of(message.key))):
            raise MessageBusy(
                f"{message.key} is being sent by another process", remedy="nothing: trying again tells how it went"
            )
        message, before, number = _left_to_tell(ledger, message)
        doubts = _doubts(ledger, message) if before is None else ()
    except LedgerError as error:
        if not message.urgent:
            raise
        log.warning("%s is sent without the ledger: %s", message.key, error)
        ledger, before, number, doubts = None, None, 1, ()
        message = message.noted(_DOUBT[message.language])
    if before is not None:
        log.info("%s went out before, ledger entry %s", message.key, before.sequence)
        return Delivery(message.key, sent=False, recorded=True, refused=_refused(before))
    if waiting := not_yet(message, doubts, now):
        raise waiting
    message = _in_thread(ledger, repeated(message) if doubts else message)
    try:
        answer = transport(message)
    except Exception as error:
        doubt = isinstance(error, MessageUnanswered)
        facts: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"} | (
            {UNANSWERED: True} if doubt else {}
        )
        noted = _note(ledger, _entry(message, FAILED, now, actor, **facts))
        failure = undelivered(message, error, len(doubts) + 1, noted=noted)
        if failure is error:
            raise
        raise failure from error
    receipt = answer if isinstance(answer, Receipt) else Receipt()
    recorded = _note(ledger, _sent(message, receipt, now, actor, number))
    refused = {address: str(refusal) for address, refusal in receipt.refused.items()}
    if refused:
        log.warning("%s did not reach: %s", message.key, refused)
    if recorded and any(refusal.passing for refusal in receipt.refused.values()):
        raise MessageIncomplete(
            f"{message.key} was put off for some of its recipients",
            expected="the mail server to take every recipient",
            seen="; ".join(f"{address}: {reply}" for address, reply in refused.items()),
            remedy="nothing: a later try tells those alone; where none succeeds, tell them by other means",
        )
    return Delivery(message.key, sent=True, recorded=recorded, refused=refused)


def _doubts(ledger: Record | None, message: Message) -> tuple[datetime, ...]:
    """When it was sent and may have arrived."""
    if ledger is None:
        return ()
    failed = ledger.entries(release=message.release, environment=message.environment, kinds=(FAILED,))
    return unanswered(failed, message)


def _left_to_tell(ledger: Record | None, message: Message) -> tuple[Message, Entry | None, int]:
    """The message to those who do not have it, and which delivery of it that is; with an entry nobody is left."""
    if ledger is None:
        raise LedgerUnavailable("the ledger cannot be opened", remedy="bring the ledger's database back")
    before, number = ledger.find(key_of(message.key)), 1
    while before is not None and (waiting := _put_off(before)):
        message, number = replace(message, recipients=waiting), number + 1
        before = ledger.find(key_of(message.key, number))
    return message, before, number


def _in_thread(ledger: Record | None, message: Message) -> Message:
    """The post as a reply where its thread is known; where it is not, it goes out all the same and begins one."""
    if not message.threaded or ledger is None:
        return message
    try:
        posts = ledger.entries(release=message.release, environment=message.environment, kinds=(SENT,))
    except LedgerError as error:
        log.warning("%s goes out without its thread: %s", message.key, error)
        return message
    threads = [post.payload["thread"] for post in posts if _begun(post, message.channel)]
    return replace(message, thread=str(threads[-1])) if threads else message


def _begun(post: Entry, channel: str) -> bool:
    return post.payload.get("channel") == channel and bool(post.payload.get("thread"))


def _refused(entry: Entry) -> dict[str, str]:
    refused = entry.payload.get("refused")
    return {str(address): str(reply) for address, reply in refused.items()} if isinstance(refused, dict) else {}


def _put_off(entry: Entry) -> tuple[str, ...]:
    waiting = entry.payload.get("put_off")
    return tuple(map(str, waiting)) if isinstance(waiting, list) else ()


def _sent(message: Message, receipt: Receipt, now: datetime, actor: str, number: int) -> NewEntry:
    """What the ledger keeps of a message that was taken."""
    facts: dict[str, Any] = {"text": message.text, "message_id": message.message_id}
    if message.attachments:
        facts["attachments"] = [{"name": one.name, "sha256": one.digest} for one in message.attachments]
    if receipt.ts:
        facts["ts"] = receipt.ts
    if message.threaded and receipt.ts:
        # Slack drops a thread whose first post was deleted: this post then begins the next one.
        facts["thread"] = receipt.thread or receipt.ts
    if receipt.tries > 1:
        facts["tries"] = receipt.tries
    if receipt.refused:
        facts["refused"] = {address: str(refusal) for address, refusal in receipt.refused.items()}
        facts["put_off"] = [address for address, refusal in receipt.refused.items() if refusal.passing]
    taken = tuple(address for address in message.recipients if address not in receipt.refused)
    return _entry(replace(message, recipients=taken), SENT, now, actor, key_of(message.key, number), **facts)


def _entry(
    message: Message, kind: str, now: datetime, actor: str, key: str | None = None, **facts: Any
) -> NewEntry:
    """An entry about a message; every failed attempt is one of its own, success is one fact."""
    audience = (
        {"channel": message.channel} if message.kind == "slack" else {"recipients": list(message.recipients)}
    )
    return NewEntry(
        kind=kind,
        release=message.release,
        environment=message.environment,
        run_id=message.run_id,
        actor=actor,
        payload={"message": message.key, "via": message.kind, **audience, "subject": message.subject, **facts},
        key=key,
        at=now,
    )


def _note(ledger: Record | None, entry: NewEntry) -> bool:
    """Record what cannot be undone any more: a ledger that fails now changes nothing about it."""
    if ledger is None:
        return False
    try:
        ledger.append(entry)
    except LedgerError as error:
        log.warning("%s of %s is not recorded: %s", entry.kind, entry.payload["message"], error)
        return False
    return True


def key_of(message: str, number: int = 1) -> str:
    """The ledger's key of the entry that says a message went out.

    :param message: the message's key
    :param number: 2 and above for those whom the mail server had put off
    """
    return f"{SENT}:{message}" if number == 1 else f"{SENT}:{message}:{number}"
