"""The way back: take it, prove it, tell the ledger. Which way it is: :mod:`include.steps.rollback_choice`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.fence import LastSwitch
from include.bluegreen.slots import other
from include.clients.kubernetes import Cluster
from include.clients.traffic import acknowledge_back, switch
from include.errors import ClusterError, LedgerError, RollbackRefused, StellwerkError, TrafficError
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger
from include.steps.drain import LeftSlot, drained
from include.steps.lease import give_up
from include.steps.observe import account, none_because, witnessed
from include.steps.record import (
    DRAINED,
    ROLLBACK_BLOCKED,
    ROLLBACK_REFUSED,
    ROLLED_BACK,
    SWITCHED_BACK,
    WATCH_ENDED,
    record,
    recorded,
)
from include.steps.rollback_choice import Held, held
from include.steps.run import ReleaseRun, lease_name
from include.steps.verify import prove_traffic
from include.watch.back import drain_after_back, is_watch

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 60.0


async def switch_back(run: ReleaseRun, cluster: Cluster, reason: str) -> dict[str, Any]:
    """Return the traffic to the slot it came from, then move the connections that stayed behind.

    Waits for no record, for no message (DESIGN, invariant 11) and not for the prober that observes it. Where
    somebody changed the selector by hand, that is taken as the switch.

    :return: ``from``, ``to``, ``by``, ``reason``, ``at``, ``release_id``, ``noticed`` (what people have to know of
        the switch) and ``observation``
    :raises TrafficError: nothing to roll back, or nobody to take the traffic
    """
    with witnessed(run.environment) as witness:
        found = await held(run, cluster)
        made_here = False
        noticed: tuple[str, ...] = ()
        if found.moved.direction == "forward":
            made_here, noticed = await _go_back(run, cluster, found, reason)
            found = await held(run, cluster)
        moved = found.moved
        log.info("traffic is on %s since %s (%s: %s)", moved.to, moved.at.isoformat(), moved.by, moved.reason)
        await drain_after_back(run.environment, cluster, other(moved.to), moved.at)
        if made_here:
            observed = await account(witness, to=moved.to, at=moved.at)
        else:
            observed = none_because("the traffic had been switched back before this step began")
    return _told(found.holder, moved, observed, noticed)


def _told(holder: str, moved: LastSwitch, observed: Mapping[str, Any], noticed: Sequence[str]) -> dict[str, Any]:
    return {
        "from": other(moved.to),
        "to": moved.to,
        "by": moved.by,
        "reason": moved.reason,
        "at": moved.at.isoformat(),
        "release_id": holder,
        "noticed": list(noticed),
        "observation": observed,
        "sentence": observed["sentence"],
    }


async def _go_back(run: ReleaseRun, cluster: Cluster, found: Held, reason: str) -> tuple[bool, tuple[str, ...]]:
    """Make the switch; whether it was this call that did, and what was noticed."""
    traffic, now = run.environment.traffic, datetime.now(UTC)
    if found.by_hand(traffic):
        why = reason or "the selector was changed by hand"
        await acknowledge_back(
            cluster, traffic, found.service, release_id=found.holder, by="by hand", reason=why, now=now
        )
        return False, ()
    done = await switch(
        cluster,
        traffic,
        target=found.old_slot,
        release_id=found.holder,
        by=f"rollback ({run.triggered_by or 'scheduler'})",
        reason=reason or "rolled back by hand",
        now=now,
        back=True,
        required=run.environment.replicas,
    )
    for sentence in done.noticed:
        log.log(logging.ERROR if done.page else logging.WARNING, "%s", sentence)
    return done.changed, done.noticed


def record_switch_back(run: ReleaseRun, ledger: Ledger, done: dict[str, Any]) -> None:
    """Write the switch to the ledger, after the fact; it is one fact, whoever tells it first (the watch, say)."""
    ledger.append(
        NewEntry(
            kind=SWITCHED_BACK,
            release=run.release.version,
            environment=run.environment.name,
            run_id=run.run_id,
            actor=str(done["by"]),
            payload=done,
            key=switch_key(str(done["release_id"])),
        )
    )


def switch_key(holder: str) -> str:
    """The ledger's key of the entry that tells of a release's switch back."""
    return f"{holder}:{SWITCHED_BACK}"


def record_trouble(run: ReleaseRun, ledger: Ledger, step: str, error: StellwerkError) -> None:
    """Write why a step of the rollback did not do what it was to: the messages tell it in these words."""
    kind = ROLLBACK_REFUSED if isinstance(error, RollbackRefused) else ROLLBACK_BLOCKED
    payload = {"step": step, "error": type(error).__name__, "what": error.what, "seen": error.seen}
    before = ledger.entries(
        release=run.release.version, environment=run.environment.name, run_id=run.run_id, kinds=(kind,)
    )
    if not before or before[-1].payload.get("what") != error.what:
        record(ledger, run, kind, payload | {"remedy": error.remedy}, number=len(before))


async def drain_bad_slot(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Move the connections that stayed on the slot that was left, whoever switched back, and measure it.

    A faulty version need not come up again: that is said, and no error.

    :raises TrafficError: the traffic has not been switched back
    """
    found = await held(run, cluster)
    _require_back(found.moved)
    left = LeftSlot(run.environment, other(found.moved.to), found.holder, found.moved.at)
    facts = await drained(left, cluster, limit_seconds=DRAIN_SECONDS, must_come_back=False)
    return dict(record(ledger, run, DRAINED, facts).payload)


def _require_back(moved: LastSwitch) -> None:
    if moved.direction != "back":
        raise TrafficError(
            "the traffic has not been switched back",
            expected="a switch back",
            seen=moved.encode(),
            remedy="clear the task switch_back",
        )


async def verify_traffic(run: ReleaseRun, cluster: Cluster) -> dict[str, Any]:
    """Prove that users get right answers from the old slot.

    :raises VerificationFailed: they do not
    """
    moved = (await held(run, cluster)).moved
    _require_back(moved)
    results = await prove_traffic(run, cluster, moved.to)
    service = await cluster.endpoints(run.environment.traffic.service)
    usable = usable_endpoints(service, run.environment.traffic.port)
    return {"slot": moved.to, "endpoints": usable, "checks": [result.sentence for result in results]}


async def summarise(run: ReleaseRun, cluster: Cluster, ledger: Ledger, reason: str) -> dict[str, Any]:
    """Write the end of the rollback to the ledger and give the environment free.

    The switch itself is written, too, where the ledger gave no answer when it was made: nothing waited for that.

    :raises LedgerUnavailable: it still gives none
    """
    found = await held(run, cluster)
    moved = found.moved
    if moved.direction == "back" and ledger.find(switch_key(found.holder)) is None:
        why = "it was recorded after the fact: the ledger gave no answer when it was made"
        record_switch_back(run, ledger, _told(found.holder, moved, none_because(why), ()))
    payload = {
        "release_id": found.holder,
        "slot": moved.to,
        "switched_at": moved.at.isoformat(),
        "switched_by": moved.by,
        "reason": moved.reason or reason,
    }
    log.info("%s is rolled back to slot %s: %s", found.holder, moved.to, payload["reason"])
    entry = record(ledger, run, ROLLED_BACK, payload)
    try:
        await give_up(cluster, lease_name(run.environment), found.holder)
    except ClusterError as error:
        log.warning("the Lease of %s could not be given up, it will expire: %s", found.holder, error)
    return dict(entry.payload)


async def why_roll_back(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> str | None:
    """Return why DAG ``rollback`` has to be started for this run; None when it has not to."""
    try:
        found = await held(run, cluster)
    except TrafficError as error:
        log.info("%s", error)
        return None
    if found.holder != run.release_id:
        return None
    if found.moved.direction == "back":
        return found.moved.reason if is_watch(found.moved.by) else None
    try:
        ended = recorded(ledger, run, WATCH_ENDED)
    except LedgerError as error:
        log.warning("%s", error)
        return None
    if ended and ended.payload.get("result") == "ROLLBACK_BLOCKED":
        return str(ended.payload.get("sentence", "a rollback was due and blocked"))
    return None
