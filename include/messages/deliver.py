"""Sends a message once and records it, whatever fails on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from include.errors import LedgerError, LedgerUnavailable, MessageBusy, MessageError
from include.ledger.entry import Entry, NewEntry
from include.messages.model import Message

SENT = "message.sent"
FAILED = "message.failed"

Transport = Callable[[Message], object]
"""Hands the message over and returns when it was accepted; any exception means it was not."""

_DOUBT = "Das Ledger war beim Senden nicht erreichbar: Diese Nachricht kann doppelt ankommen."

log = logging.getLogger(__name__)


class Record(Protocol):
    """The part of the ledger that delivery needs."""

    def find(self, key: str) -> Entry | None:
        """The entry with this key."""

    def append(self, new: NewEntry) -> Entry:
        """Write an entry; one with the same key is not written again."""

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Be the only process that does ``what`` while in this context; False when another one is at it."""


@dataclass(frozen=True)
class Delivery:
    """What became of a message.

    :param sent: it went out now; False when it had gone out before
    :param recorded: the ledger knows it
    """

    key: str
    sent: bool
    recorded: bool


def deliver(
    ledger: Record | None, message: Message, transport: Transport, now: datetime, *, actor: str = "stellwerk"
) -> Delivery:
    """Send the message unless the ledger says that it went out before.

    Between acceptance and record a kill may let it go out a second time, with the same Message-ID. Without the
    ledger an urgent message goes out all the same and says that it may arrive twice.

    :param ledger: None when it cannot even be opened
    :raises MessageError: the transport failed; recorded where that is possible
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
        before = _lookup(ledger, message)
    except LedgerError as error:
        if not message.urgent:
            raise
        log.warning("%s is sent without the ledger: %s", message.key, error)
        ledger, before = None, None
        message = replace(message, text=f"{message.text.rstrip()}\n\n{_DOUBT}\n")
    if before is not None:
        log.info("%s went out before, ledger entry %s", message.key, before.sequence)
        return Delivery(message.key, sent=False, recorded=True)
    try:
        transport(message)
    except Exception as error:
        _note(ledger, _entry(message, FAILED, now, actor, error=f"{type(error).__name__}: {error}"))
        if isinstance(error, MessageError):
            raise
        raise MessageError(
            f"{message.key} was not delivered",
            expected=f"{'Slack' if message.kind == 'slack' else 'the mail server'} to accept it",
            seen=f"{type(error).__name__}: {error}",
            remedy="tell people by other means; the message can be sent again",
        ) from error
    recorded = _note(ledger, _entry(message, SENT, now, actor))
    return Delivery(message.key, sent=True, recorded=recorded)


def _lookup(ledger: Record | None, message: Message) -> Entry | None:
    if ledger is None:
        raise LedgerUnavailable("the ledger cannot be opened", remedy="bring the ledger's database back")
    return ledger.find(key_of(message.key))


def _entry(message: Message, kind: str, now: datetime, actor: str, **facts: Any) -> NewEntry:
    audience = (
        {"channel": message.channel} if message.kind == "slack" else {"recipients": list(message.recipients)}
    )
    payload = {"message": message.key, "via": message.kind, **audience, "subject": message.subject, **facts}
    if kind == SENT:
        payload |= {"text": message.text, "message_id": message.message_id}
        if message.attachments:
            payload["attachments"] = [{"name": one.name, "sha256": one.digest} for one in message.attachments]
    return NewEntry(
        kind=kind,
        release=message.release,
        environment=message.environment,
        run_id=message.run_id,
        actor=actor,
        payload=payload,
        # Every failed attempt is an entry of its own; success is one fact.
        key=key_of(message.key) if kind == SENT else None,
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


def key_of(message: str) -> str:
    """The ledger's key of the entry that says a message went out.

    :param message: the message's key
    """
    return f"{SENT}:{message}"
