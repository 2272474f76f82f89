"""The mails of all releases whose time has come: each is sent once, and again when what it tells has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from include.errors import LedgerError, MessageBusy, StellwerkError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages.deliver import FAILED, SENT, deliver, key_of
from include.messages.doubt import wait_after
from include.messages.model import Message
from include.plan.communication import MailEvent
from include.plan.loader import Plan, conflicts_of
from include.plan.models import Release
from include.steps.announce import Transports, occasion_of
from include.steps.calendar_news import News
from include.steps.mails import LIVE_IN, planned_at, release_mail
from include.steps.page import Matter
from include.steps.phase import PHASE_STARTED
from include.steps.run import ReleaseRun, open_run

log = logging.getLogger(__name__)

MAILS: Final = "release-mails"

LATE: Final = timedelta(hours=24)
"""So long after its time the completion is still sent by itself."""

PATIENCE: Final = timedelta(hours=1)
"""So long a mail that is due is tried before people are called: what was out is often back by then."""

REHEARSAL: Final = "staging-deploy"


@dataclass(frozen=True)
class Due:
    """A mail that there may be something to tell by.

    :param since: when it was to go out
    :param until: so long it is tried
    """

    release: Release
    event: MailEvent
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Told:
    """What became of the mails of a look.

    :param done: a sentence for each that is out
    :param failed: a sentence for each that is not, and should be
    :param calls: what people are called for: once a day for each that is not out for :data:`PATIENCE`
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    calls: tuple[News, ...] = ()


@dataclass(frozen=True)
class _Unsent:
    """A mail that is not out.

    :param message: None where it could not even be written
    """

    due: Due
    message: Message | None
    error: StellwerkError


def send_due(plan: Plan, ledger: Ledger, send: Transports, run_id: str, now: datetime) -> Told:
    """Send what is due and was not sent; one that cannot be sent keeps no other from it.

    What the calendar would not go on with is not announced either, and counts as what should be out and is not. A
    release that has begun keeps its place here as it does there, whatever is planned beside it since.

    :param run_id: Airflow's id of the run that looks
    :raises LedgerError: nobody knows what was sent
    """
    started = ledger.entries(kinds=(PHASE_STARTED,))
    refused = conflicts_of(plan, now, frozenset(entry.release for entry in started))
    done, unsent = [], []
    for one in due(plan, started, now):
        message = None
        try:
            message = _message(plan, one.release, one.event, ledger, run_id, now)
            if message is None:
                continue
            problems = refused.get(one.release.version, ()) if one.event == "announcement" else ()
            if problems and ledger.find(key_of(message.key)) is None:
                raise problems[0]
            done.append(_send(message, ledger, send, now))
        except StellwerkError as error:
            unsent.append(_Unsent(one, message, error))
    failed = tuple(f"{one.due.event} of {one.due.release.version}: {one.error}" for one in unsent)
    return Told(tuple(done), failed, tuple(_calls(plan, unsent, ledger, now)))


def _calls(plan: Plan, unsent: Iterable[_Unsent], ledger: Ledger, now: datetime) -> Iterator[News]:
    """What people are called for: nothing that another process is sending, or that only the ledger would know."""
    for one in unsent:
        if isinstance(one.error, LedgerError | MessageBusy):
            continue
        try:
            tried = _tries(one.message, ledger) if one.message else ()
        except LedgerError as error:
            log.warning("whether people are to be called is not known: %s", error)
            return
        # One that tells of another date is due before the time that the plan has for it now.
        since = tried[0].at if tried else one.due.since
        if now >= since + PATIENCE:
            yield _news(plan, one, now)


def _news(plan: Plan, unsent: _Unsent, now: datetime) -> News:
    due, error, environment = unsent.due, unsent.error, plan.environment(LIVE_IN)
    until = f"{due.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    again = f"it is tried again by itself until {until}; where that is too late, tell them by other means"
    matter = Matter(
        f"mail:{due.event}:{now.date()}",
        f"the {due.event} of {due.release.version} has not reached all whom it is for",
        f"{error.what}: {error.seen}" if error.seen else error.what,
        f"{error.remedy}; {again}" if error.remedy else again,
    )
    return News(ReleaseRun(due.release, environment, Path(environment.chart), MAILS, MAILS, None), matter)


def due(plan: Plan, started: Sequence[Entry], now: datetime) -> Iterator[Due]:
    """The mails that there may be something to tell by now.

    A release is announced when its rehearsal has begun: until then nobody has agreed to it.

    :param started: the ledger's entries of :data:`PHASE_STARTED`
    """
    rehearsed = {entry.release: entry.at for entry in started if entry.payload["phase"] == REHEARSAL}
    for release in plan.releases.values():
        begun, ends = rehearsed.get(release.version), release.at("sign_off")
        if begun and now < ends:
            yield Due(release, "announcement", max(begun, planned_at(release, "announcement") or begun), ends)
        at = planned_at(release, "completion")
        if at and at <= now <= at + LATE:
            yield Due(release, "completion", at, at + LATE)


def _message(
    plan: Plan, release: Release, event: MailEvent, ledger: Ledger, run_id: str, now: datetime
) -> Message | None:
    run = open_run(
        plan,
        release=release.version,
        environment=LIVE_IN,
        phase=MAILS,
        run_id=run_id,
        triggered_by=None,
    )
    return release_mail(run, occasion_of(run, ledger), event, ledger, now)


def _send(message: Message, ledger: Ledger, send: Transports, now: datetime) -> str:
    if (again := _rests_until(message, ledger)) and now < again:
        return f"{message.key} could not be sent; it is tried again after {again:%H:%M} UTC"
    return str(deliver(ledger, message, send[message.kind], now))


def _rests_until(message: Message, ledger: Ledger) -> datetime | None:
    """When a mail that nobody took, or not for everybody, is tried again; None when it was not tried."""
    tries = _tries(message, ledger)
    return tries[-1].at + timedelta(seconds=wait_after(message, len(tries))) if tries else None


def _tries(message: Message, ledger: Ledger) -> tuple[Entry, ...]:
    """The tries after which somebody was left without the mail, oldest first."""
    return tuple(
        entry
        for entry in ledger.entries(release=message.release, environment=message.environment, kinds=(FAILED, SENT))
        if entry.payload.get("message") == message.key and (entry.kind == FAILED or entry.payload.get("put_off"))
    )
