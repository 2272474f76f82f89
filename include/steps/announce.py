"""Which message a step of the release sends, with the facts as the ledger and the cluster tell them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import LedgerError, LedgerUnavailable, StellwerkError
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.deliver import FAILED, SENT, Delivery, deliver
from include.messages.model import Message
from include.messages.occasion import Occasion
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCHED,
    NEEDLESS,
)
from include.steps.database.watched import undone_since
from include.steps.mails import release_mail
from include.steps.record import APPROVED, CLEANED_UP, CUT_OVER, RELEASED, all_recorded, recorded, slots_of
from include.steps.run import ReleaseRun
from include.steps.schema_proof import MIGRATED, MIGRATION_INTENDED, RESTORED, UNDONE, course_of, standing

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
    :return: None where there is nothing to tell: it has not happened, whatever the states of tasks say; nothing
        has failed, or nobody was told that it began
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
    if (needed := _ONLY_AFTER.get(event)) and recorded(ledger, run, needed) is None:
        log.info("nothing to tell: the ledger holds no %s of this run, whatever the states of tasks", needed)
        return None
    if event == "migration-failed":
        return compose.migration_failed(occasion, schema=schema_left(run, ledger), at=now)
    if event == "migration-left":
        return _left(run, occasion, ledger)
    if event == "migration-completed":
        return _migrated(run, occasion, ledger, now)
    if event in _OF_DATABASE:
        return _OF_DATABASE[event](occasion, at=now)
    tell, which = _OF_SLOTS[event]
    return tell(occasion, slot=slots_of(ledger, run)[which], at=now)


class _Tell(Protocol):
    def __call__(self, occasion: Occasion, *, at: datetime) -> Message: ...


class _TellOfSlot(Protocol):
    def __call__(self, occasion: Occasion, *, slot: str, at: datetime) -> Message: ...


_OF_DATABASE: Final[Mapping[Event, _Tell]] = {
    "migration-started": compose.migration_started,
    "database-restored": compose.database_restored,
}
_LEFT, _TARGET = 0, 1
_OF_SLOTS: Final[Mapping[Event, tuple[_TellOfSlot, int]]] = {
    "slot-deployment-started": (compose.slot_deployment_started, _TARGET),
    "cutover": (compose.traffic_cutover, _TARGET),
    "cleanup": (compose.slot_cleanup_completed, _LEFT),
    "successful": (compose.deployment_successful, _TARGET),
}

_ONLY_AFTER: Final[Mapping[Event, str]] = {
    "slot-deployment-started": APPROVED,
    "cutover": CUT_OVER,
    "cleanup": CLEANED_UP,
    "successful": RELEASED,
    "migration-started": APPROVED,
    "migration-failed": APPROVED,
    "database-restored": RESTORED,
}
"""What the run has recorded before there is anything to tell: the states of tasks can be set by hand."""


def _migrated(run: ReleaseRun, occasion: Occasion, ledger: Ledger, now: datetime) -> Message | None:
    """That the run has migrated and looked at it, or that there was nothing to migrate; else None."""
    if recorded(ledger, run, MIGRATED) and recorded(ledger, run, MIGRATION_VERIFIED):
        return compose.migration_completed(occasion, at=now)
    if recorded(ledger, run, NEEDLESS):
        return compose.migration_needless(occasion, at=now)
    log.info("nothing to tell: this run has migrated nothing that it has verified, nor found nothing to migrate")
    return None


def _left(run: ReleaseRun, occasion: Occasion, ledger: Ledger) -> Message | None:
    """What a migration that has failed has left; None where it has not, or nobody was told that it has."""
    left = schema_left(run, ledger)
    if not _failure_told(run, occasion, ledger):
        log.info("nothing to tell: nothing has failed, or nobody was told of it")
        return None
    if _ended_well(run, ledger, left):
        log.info("nothing to tell: what had failed was made good")
        return None
    return compose.migration_left(occasion, schema=left, at=datetime.now(UTC))


def _failure_told(run: ReleaseRun, occasion: Occasion, ledger: Ledger) -> bool:
    """Whether anybody was told that the run has failed, or would have been if somebody had taken the message."""
    key = occasion.key("migration-failed")
    return any(entry.payload["message"] == key for entry in all_recorded(ledger, run, SENT, FAILED))


def _ended_well(run: ReleaseRun, ledger: Ledger, left: compose.Schema) -> bool:
    """Whether a failure was made good: what had failed was cleared, and went well."""
    looked_at = all(recorded(ledger, run, kind) for kind in (MIGRATION_VERIFIED, MIGRATION_WATCHED))
    return looked_at and left == "new"


def schema_left(run: ReleaseRun, ledger: Ledger) -> compose.Schema:
    """What this run's migration has made of the schema, as far as the ledger knows.

    A run that has found nothing to migrate, and has watched what another one has left, tells what that one did.

    :raises LedgerError: the ledger gives no answer
    """
    intent, failed = recorded(ledger, run, MIGRATION_INTENDED), recorded(ledger, run, MIGRATION_WATCH_FAILED)
    migrated = intent.sequence if intent else int(failed.payload["migrated"]) if failed else None
    if migrated is None:
        return "unchanged"
    if undone := undone_since(run, ledger, migrated):
        return "back" if undone.kind in UNDONE else "unchanged"
    left = standing(course_of(run, ledger))
    return "new" if left and left[-1].kind == MIGRATED else "unknown"


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
