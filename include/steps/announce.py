"""Which message a step of the release sends, with the facts as the ledger and the cluster tell them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import LedgerError, LedgerUnavailable, StellwerkError
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.deliver import Delivery, deliver
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.steps.mails import release_mail
from include.steps.migration_news import NEWS
from include.steps.overtaken import overtaken_by
from include.steps.record import (
    APPROVED,
    CLEANED_UP,
    CUT_OVER,
    RELEASED,
    WATCH_PASSED,
    recorded,
    slots_of,
)
from include.steps.run import ReleaseRun
from include.steps.schema_course import RESTORED

log = logging.getLogger(__name__)

Event = Literal[
    "deployment-started", "slot-deployment-started", "cutover", "cleanup", "successful",
    "announcement", "completion", "migration-started", "migration-completed", "migration-failed", "migration-left",
    "database-restored",
]  # fmt: skip
Transports = Mapping[str, Callable[[Message], object]]


def announce(run: ReleaseRun, event: Event, ledger: Ledger | None, send: Transports) -> Delivery | None:
    """Send the message of an event, once.

    :param ledger: None when it cannot be opened
    :return: None where there is nothing to tell: it has not happened, whatever the states of tasks say; it is so
        no more; nothing has failed, or nobody was told that it began
    :raises PlanError: the plan names an audience that nobody knows
    :raises MessageError: Slack or the mail server did not take it
    :raises LedgerError: the ledger gives no answer, and the message can wait
    """
    message = _of_release(run, occasion_of(run, ledger), event, ledger)
    if message is None:
        return None
    done = deliver(ledger, message, send[message.kind], datetime.now(UTC))
    log.info("%s", done)
    return done


async def traffic_service(run: ReleaseRun, cluster: Cluster) -> ServiceState | None:
    """Return the traffic Service; None when the cluster does not tell, which delays no message."""
    try:
        return await cluster.service(run.environment.traffic.service)
    except StellwerkError as error:
        log.warning("the traffic Service cannot be read: %s", error)
        return None


def _of_release(run: ReleaseRun, occasion: Occasion, event: Event, ledger: Ledger | None) -> Message | None:
    if ledger is None:
        raise LedgerUnavailable(
            "the ledger cannot be opened", remedy="bring its database back; the task tries again"
        )
    now = datetime.now(UTC)
    if event == "announcement" or event == "completion":
        return release_mail(run, occasion, event, ledger, now)
    if event == "deployment-started":
        return compose.deployment_started(occasion, by=run.triggered_by or "Stellwerk", at=now)
    if news := NEWS.get(event):
        return news(run, occasion, ledger, now)
    needed = _ONLY_AFTER[event]
    since = recorded(ledger, run, needed)
    if since is None:
        log.info("nothing to tell: the ledger holds no %s of this run, whatever the states of tasks", needed)
        return None
    if event == "database-restored":
        return compose.database_restored(occasion, at=since.at)
    later = overtaken_by(run, ledger, since)
    if event == "slot-deployment-started" and later is None:
        later = recorded(ledger, run, CUT_OVER)
    if later:
        log.warning("nothing to tell: it is so no more, says ledger entry %s, %s", later.sequence, later.kind)
        return None
    return _of_slot(run, occasion, event, ledger, _happened(since))


def _of_slot(run: ReleaseRun, occasion: Occasion, event: Event, ledger: Ledger, at: datetime) -> Message:
    left, target = slots_of(ledger, run)
    if event == "slot-deployment-started":
        return compose.slot_deployment_started(occasion, slot=target, at=at)
    if event == "cutover":
        return compose.traffic_cutover(occasion, slot=target, at=at)
    if event == "cleanup":
        accepted_by = _accepted_by(run, ledger)
        return compose.slot_cleanup_completed(occasion, slot=left, accepted_by=accepted_by, at=at)
    return compose.deployment_successful(occasion, slot=target, at=at)


def _happened(entry: Entry) -> datetime:
    """When it happened: a cutover is recorded when it is proven, which may be long after the switch."""
    at = entry.payload.get("at") if entry.kind == CUT_OVER else None
    return datetime.fromisoformat(str(at)) if at else entry.at


def _accepted_by(run: ReleaseRun, ledger: Ledger) -> str:
    """Who has ended the watch, where it did not pass by itself; else nobody: empty."""
    passed = recorded(ledger, run, WATCH_PASSED)
    if passed is None or passed.payload.get("result") != "ACCEPTED":
        return ""
    return str(passed.payload.get("measures", {}).get("accepted_by") or "nobody")


_ONLY_AFTER: Final[Mapping[Event, str]] = {
    "slot-deployment-started": APPROVED,
    "cutover": CUT_OVER,
    "cleanup": CLEANED_UP,
    "successful": RELEASED,
    "database-restored": RESTORED,
}
"""What the run has recorded before there is anything to tell: the states of tasks can be set by hand."""


def occasion_of(run: ReleaseRun, ledger: Ledger | None) -> Occasion:
    """What the messages of a run are about and where they go; the ledger's head is told where it is known."""
    release, environment = run.release, run.environment
    head = None
    try:
        head = ledger.head() if ledger else None
    except LedgerError as error:
        log.warning("the message goes without the ledger's head: %s", error)
    return Occasion(
        application=environment.application,
        version=release.version,
        previous=release.previous,
        environment=environment.name,
        run_id=run.run_id,
        timezone=release.timezone,
        status_channel=environment.messages.status_channel,
        alerts_channel=environment.messages.alerts_channel,
        sender=environment.messages.mail_from,
        stakeholders=environment.messages.stakeholders,
        escalation=environment.messages.escalation,
        deadlines=environment.messages.deadlines,
        head=head,
        language=release.communication.language,
        contacts=environment.contacts,
        support=environment.messages.support,
        channels=_planned_channels(run),
    )


def _planned_channels(run: ReleaseRun) -> dict[str, str]:
    """Where the release wants its events told, as far as its environment has that channel."""
    messages = run.environment.messages
    known = (messages.status_channel, messages.alerts_channel)
    return {one.event: one.channel for one in run.release.communication.status if one.channel in known}
