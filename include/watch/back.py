"""The way back: the guarded switch, the restart of the slot that was left, and what the Service says of others."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from include.bluegreen.fence import last_switch, release_id
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import SETTLE_SECONDS, back_and_forth
from include.clients.kubernetes import Cluster, fresh
from include.clients.traffic import switch
from include.errors import (
    ClusterError,
    ClusterUnreachable,
    ReleaseFenced,
    StellwerkError,
    TrafficError,
    TrafficServiceMissing,
    UnknownSelector,
)
from include.plan.models import Environment
from include.watch.config import WatchConfig, WatchOutcome

log = logging.getLogger(__name__)

BY: str = "watch"


def ordered_by(user: str) -> str:
    """Who switches when a human told the watch to."""
    return f"{BY} ({user})"


def is_watch(by: str) -> bool:
    """Whether it was a watch that switched, of itself or because a human told it to."""
    return by == BY or by.startswith(f"{BY} (")


def moved_by_others(config: WatchConfig, service: ServiceState | None, *, now: float) -> WatchOutcome | None:
    """How the watch has ended because of what the traffic Service says; None while it is this release's.

    :param service: as it was read; None when it does not exist
    :param now: seconds since the epoch
    """
    try:
        slot = active_slot(service, config.environment.traffic)
    except TrafficError as error:
        return WatchOutcome(result="FENCED", sentence=str(error), at=now)
    assert service is not None, "active_slot refuses a missing Service"
    holder = release_id(service)
    if holder != config.release_id:
        sentence = f"Service {service.name} belongs to {holder or 'no release'} by now"
        return WatchOutcome(result="FENCED", sentence=sentence, at=now)
    if slot != config.target:
        return _left(config, service, now)
    if refusal := back_and_forth(service, config.release_id):
        return WatchOutcome(result="FENCED", sentence=refusal.reason, at=now)
    return None


def _left(config: WatchConfig, service: ServiceState, now: float) -> WatchOutcome:
    moved = last_switch(service)
    if moved is None or moved.release != config.release_id or moved.direction != "back":
        sentence = f"the selector of {service.name} was changed by hand; traffic is on {config.source}"
        return WatchOutcome(result="ROLLED_BACK_BY_HAND", sentence=sentence, at=now)
    # The other one of two triggerers that both run this watch, or this very trigger before it was killed.
    at = moved.at.timestamp()
    if is_watch(moved.by):
        return WatchOutcome(result="ROLLED_BACK", sentence=moved.reason, at=now, switched_at=at)
    sentence = f"rolled back by hand ({moved.by}): {moved.reason}"
    return WatchOutcome(result="ROLLED_BACK_BY_HAND", sentence=sentence, at=now, switched_at=at)


async def switch_back(
    config: WatchConfig, cluster: Cluster, reason: str, *, detected_at: float, now: float, by: str = BY
) -> WatchOutcome | None:
    """Return the traffic to the slot it came from; None when the cluster gives no answer: try again.

    :param detected_at: when the trigger fired (or the human spoke) first, seconds since the epoch
    :param now: seconds since the epoch
    :param by: who switches, as the Service is going to say
    """
    try:
        done = await switch(
            fresh(cluster),
            config.environment.traffic,
            target=config.source,
            release_id=config.release_id,
            by=by,
            reason=reason,
            now=datetime.fromtimestamp(now, UTC),
            back=True,
            required=config.environment.replicas,
            once=True,
        )
    except ClusterUnreachable as error:
        log.warning("switching back: %s; trying again", error)
        return None
    except (ReleaseFenced, UnknownSelector, TrafficServiceMissing) as error:
        return WatchOutcome(result="FENCED", sentence=f"{reason}; {error}", at=now, detected_at=detected_at)
    except (ClusterError, TrafficError) as error:
        return blocked(f"{reason}; {error}", detected_at=detected_at, now=now)
    if not done.changed and (seen := moved_by_others(config, done.service, now=now)):
        return seen.model_copy(update={"detected_at": detected_at, "noticed": done.noticed})
    log.warning("switched back to %s: %s", config.source, reason)
    return WatchOutcome(
        result="ROLLED_BACK",
        sentence=reason,
        at=now,
        detected_at=detected_at,
        switched_at=done.at.timestamp(),
        noticed=done.noticed,
        pages=("blocked",) if done.page else (),
    )


def blocked(sentence: str, *, detected_at: float, now: float) -> WatchOutcome:
    """A rollback is due, and nothing was moved: a human has to act."""
    return WatchOutcome(
        result="ROLLBACK_BLOCKED", sentence=sentence, at=now, detected_at=detected_at, pages=("blocked",)
    )


async def drain_after_back(environment: Environment, cluster: Cluster, slot: Slot, at: datetime) -> None:
    """Restart the slot that was left, so that nobody stays on it; a failure is logged, users are safe already.

    :param at: of the switch; the restart is made once for it, whoever else makes it too
    """
    if environment.drain == "leave":
        return
    cluster = fresh(cluster)
    waited = (datetime.now(UTC) - at).total_seconds()
    await asyncio.sleep(min(SETTLE_SECONDS, max(0.0, SETTLE_SECONDS - waited)))
    try:
        service = await cluster.service(environment.traffic.service)
        if active_slot(service, environment.traffic) == slot:
            log.warning("%s takes the traffic again and is not restarted", slot)
            return
        await cluster.restart_deployment(environment.slot_release(slot), at)
    except StellwerkError as error:
        log.warning("%s could not be restarted, open connections stay on it: %s", slot, error)
