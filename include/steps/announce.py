"""Which message a step of the release sends, with the facts as the ledger and the cluster tell them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.slots import other
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import LedgerError, StellwerkError
from include.ledger.store import Ledger
from include.messages import compose
from include.messages.compose import Occasion, Rollback
from include.messages.deliver import deliver
from include.messages.model import Message
from include.steps.record import slots_of
from include.steps.run import ReleaseRun, parse_release_id

log = logging.getLogger(__name__)

Event = Literal["deployment-started", "cutover", "cleanup", "released", "rollback-alert", "rollback-mail"]
Transports = Mapping[str, Callable[[Message], object]]

ROLLBACK: Final = ("rollback-alert", "rollback-mail")


def announce(
    run: ReleaseRun, event: Event, ledger: Ledger | None, service: ServiceState | None, send: Transports
) -> str:
    """Send the message of an event, once.

    :param ledger: None when it cannot be opened; what is urgent goes out all the same
    :param service: the traffic Service; only a rollback's messages need it, None when it cannot be read
    :return: the message's key
    :raises MessageError: Slack or the mail server did not take it
    :raises LedgerError: the ledger gives no answer, and the message can wait
    """
    occasion = occasion_of(run, ledger)
    if event in ROLLBACK:
        message = _of_rollback(run, occasion, event, service)
    else:
        message = _of_release(run, occasion, event, ledger)
    done = deliver(ledger, message, send[message.kind], datetime.now(UTC))
    log.info("%s: %s", done.key, "sent" if done.sent else "had been sent before")
    return done.key


async def traffic_service(run: ReleaseRun, cluster: Cluster) -> ServiceState | None:
    """Return the traffic Service; None when the cluster does not tell, which delays no message."""
    try:
        return await cluster.service(run.environment.traffic.service)
    except StellwerkError as error:
        log.warning("the traffic Service cannot be read: %s", error)
        return None


def _of_release(run: ReleaseRun, occasion: Occasion, event: Event, ledger: Ledger | None) -> Message:
    if ledger is None:
        raise LedgerError("the ledger cannot be opened", remedy="bring its database back; the task tries again")
    source, target = slots_of(ledger, run)
    now = datetime.now(UTC)
    if event == "deployment-started":
        return compose.slot_deployment_started(occasion, slot=target, at=now)
    if event == "cutover":
        return compose.traffic_cutover(occasion, slot=target, at=now)
    if event == "cleanup":
        return compose.slot_cleanup_completed(occasion, slot=source, at=now)
    return compose.deployment_successful(occasion, slot=target, at=now)


def _of_rollback(run: ReleaseRun, occasion: Occasion, event: Event, service: ServiceState | None) -> Message:
    """Compose from what the Service says.

    The message belongs to the release and not to the run of ``rollback``, so two of those tell it once.
    """
    moved = last_switch(service) if service else None
    holder = parse_release_id(release_id(service) or "") if service else None
    if moved is None or holder is None or moved.direction != "back":
        return compose.human_needed(
            occasion,
            what=f"{run.release.version} has not been rolled back",
            seen="the last switch is not known" if moved is None else moved.encode(),
            remedy=f"read the log of the red task in run {run.run_id} of DAG rollback",
            at=datetime.now(UTC),
        )
    about = replace(occasion, run_id=holder[2])
    rollback = Rollback(other(moved.to), moved.to, moved.reason, moved.by, moved.at)
    if event == "rollback-alert":
        return compose.rollback_alert(about, rollback)
    return compose.rollback_mail(about, rollback)


def occasion_of(run: ReleaseRun, ledger: Ledger | None) -> Occasion:
    """The release and run that a message of this step is about; without the ledger it names no head."""
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
        head=head,
    )
