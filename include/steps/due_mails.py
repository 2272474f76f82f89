"""The mails of all releases whose time has come: each is sent once, and again when what it tells has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from include.errors import StellwerkError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages.deliver import FAILED, SENT, deliver, key_of
from include.messages.doubt import wait_after
from include.messages.model import Message
from include.plan.communication import MailEvent
from include.plan.loader import Plan, conflicts_of
from include.plan.models import Release
from include.steps.announce import Transports, occasion_of
from include.steps.mails import LIVE_IN, planned_at, release_mail
from include.steps.phase import PHASE_STARTED
from include.steps.run import open_run

LATE: Final = timedelta(hours=24)
"""So long after its time the completion is still sent by itself."""

REHEARSAL: Final = "staging-deploy"


@dataclass(frozen=True)
class Told:
    """What became of the mails of a look.

    :param done: a sentence for each that is out
    :param failed: a sentence for each that is not, and should be
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]


def send_due(plan: Plan, ledger: Ledger, send: Transports, run_id: str, now: datetime) -> Told:
    """Send what is due and was not sent; one that cannot be sent keeps no other from it.

    What the calendar would not go on with is not announced either, and counts as what should be out and is not. A
    release that has begun keeps its place here as it does there, whatever is planned beside it since.

    :param run_id: Airflow's id of the run that looks
    :raises LedgerError: nobody knows what was sent
    """
    started = ledger.entries(kinds=(PHASE_STARTED,))
    refused = conflicts_of(plan, now, frozenset(entry.release for entry in started))
    done, failed = [], []
    for release, event in due(plan, started, now):
        try:
            message = _message(plan, release, event, ledger, run_id, now)
            if message is None:
                continue
            problems = refused.get(release.version, ()) if event == "announcement" else ()
            if problems and ledger.find(key_of(message.key)) is None:
                raise problems[0]
            done.append(_send(message, ledger, send, now))
        except StellwerkError as error:
            failed.append(f"{event} of {release.version}: {error}")
    return Told(tuple(done), tuple(failed))


def due(plan: Plan, started: Sequence[Entry], now: datetime) -> Iterator[tuple[Release, MailEvent]]:
    """The mails that there may be something to tell by now.

    A release is announced when its rehearsal has begun: until then nobody has agreed to it.

    :param started: the ledger's entries of :data:`PHASE_STARTED`
    """
    rehearsed = {entry.release for entry in started if entry.payload["phase"] == REHEARSAL}
    for release in plan.releases.values():
        if release.version in rehearsed and now < release.at("sign_off"):
            yield release, "announcement"
        at = planned_at(release, "completion")
        if at and at <= now <= at + LATE:
            yield release, "completion"


def _message(
    plan: Plan, release: Release, event: MailEvent, ledger: Ledger, run_id: str, now: datetime
) -> Message | None:
    run = open_run(
        plan,
        release=release.version,
        environment=LIVE_IN,
        phase="release-mails",
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
    tries = [
        entry
        for entry in ledger.entries(release=message.release, environment=message.environment, kinds=(FAILED, SENT))
        if entry.payload.get("message") == message.key and (entry.kind == FAILED or entry.payload.get("put_off"))
    ]
    return tries[-1].at + timedelta(seconds=wait_after(message, len(tries))) if tries else None
