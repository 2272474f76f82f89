"""The way back: find out whether there is one, take it, prove it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.eligibility import WayBack, rollback_options
from include.bluegreen.fence import LastSwitch, last_switch, release_id
from include.bluegreen.slots import Slot, other
from include.bluegreen.state import PodState, ServiceState
from include.clients.kubernetes import Cluster
from include.clients.traffic import switch
from include.errors import ClusterError, LedgerError, NotEnoughEndpoints, TrafficError, TrafficServiceMissing
from include.ledger.store import Ledger
from include.steps.drain import LeftSlot, drained
from include.steps.lease import give_up
from include.steps.observe import account, none_because, witnessed
from include.steps.record import DRAINED, ROLLED_BACK, SWITCHED_BACK, WATCH_ENDED, record, recorded
from include.steps.run import ReleaseRun, lease_name, parse_release_id
from include.steps.verify import prove_traffic
from include.watch.back import drain_after_back, is_watch

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 60.0


async def _held(run: ReleaseRun, cluster: Cluster) -> tuple[ServiceState, str, LastSwitch]:
    """Return the traffic Service, the release id that a rollback acts under, and that release's last switch.

    :raises TrafficError: the release named by the run never moved the traffic, or another one has since
    """
    traffic = run.environment.traffic
    service = await cluster.service(traffic.service)
    if service is None:
        raise TrafficServiceMissing(
            f"traffic Service {traffic.service} not found",
            expected=f"it in namespace {run.environment.namespace}",
            remedy="recreate it with the selector of the slot that works",
        )
    holder = release_id(service)
    parsed = parse_release_id(holder) if holder else None
    moved = last_switch(service)
    wanted = (run.release.version, run.environment.name)
    if holder is None or parsed is None or parsed[:2] != wanted or moved is None or moved.release != holder:
        raise TrafficError(
            f"{run.release.version} holds no traffic of {run.environment.name}: there is nothing to roll back",
            expected=f"a cutover of {run.release.version} as the last switch of Service {service.name}",
            seen=f"release id {holder or '(none)'}, last switch {moved.encode() if moved else '(none)'}",
            remedy="name the release that was cut over last",
        )
    return service, holder, moved


async def choose(run: ReleaseRun, cluster: Cluster, option: str) -> dict[str, Any]:
    """Say for every option whether it is possible, and refuse the chosen one when it is not.

    :raises NotEnoughEndpoints: the old slot has nobody to take the traffic
    :raises TrafficError: the release never moved the traffic
    """
    _, holder, moved = await _held(run, cluster)
    if moved.direction == "back":
        log.info("switched back already by %s at %s: %s", moved.by, moved.at.isoformat(), moved.reason)
        return {"option": "blue-cutover", "done": True, "release_id": holder}
    source = other(moved.to)
    ready = await _ready_pods(run, cluster, source)
    cleaned = (await cluster.deployment(run.environment.slot_release(source)) or _NONE).replicas == 0
    way = WayBack(schema="unchanged", ready=ready, required=run.environment.replicas, cleaned_up=cleaned)
    options = {found.name: found for found in rollback_options(way)}
    for found in options.values():
        log.info("%s: %s, %s", found.name, "possible" if found.eligible else "not possible", found.reason)
    chosen = options.get(option)  # type: ignore[call-overload]  # any text: an unknown one is refused below
    if chosen is None or not chosen.eligible:
        raise NotEnoughEndpoints(
            f"rollback option {option} is not possible",
            expected="an option that is possible, see the log above",
            seen=chosen.reason if chosen else "unknown option",
            remedy=f"bring pods of {source} up, or choose another option",
        )
    return {"option": "blue-cutover", "done": False, "release_id": holder}


class _None:
    replicas = 0


_NONE = _None()


async def _ready_pods(run: ReleaseRun, cluster: Cluster, slot: Slot) -> int:
    pods: tuple[PodState, ...] = await cluster.pods(run.environment.traffic.selector_for(slot))
    return sum(pod.ready and not pod.deleting for pod in pods)


async def switch_back(run: ReleaseRun, cluster: Cluster, reason: str) -> dict[str, Any]:
    """Return the traffic to the slot it came from, then move the connections that stayed behind.

    Waits for no record, for no message (DESIGN, invariant 11) and not for the prober that observes it.

    :return: ``from``, ``to``, ``by``, ``reason``, ``at``, ``release_id`` and ``observation``
    :raises TrafficError: nothing to roll back, or nobody to take the traffic
    """
    with witnessed(run.environment) as witness:
        _, holder, moved = await _held(run, cluster)
        made_here = False
        if moved.direction == "forward":
            made_here = await _go_back(run, cluster, other(moved.to), holder, reason)
            _, _, moved = await _held(run, cluster)
        log.info("traffic is on %s since %s (%s: %s)", moved.to, moved.at.isoformat(), moved.by, moved.reason)
        await drain_after_back(run.environment, cluster, other(moved.to), moved.at)
        if made_here:
            observed = await account(witness, to=moved.to, at=moved.at)
        else:
            observed = none_because("the traffic had been switched back before this step began")
    return {
        "from": other(moved.to),
        "to": moved.to,
        "by": moved.by,
        "reason": moved.reason,
        "at": moved.at.isoformat(),
        "release_id": holder,
        "observation": observed,
        "sentence": observed["sentence"],
    }


async def _go_back(run: ReleaseRun, cluster: Cluster, target: Slot, holder: str, reason: str) -> bool:
    """Make the switch; whether it was this call that did."""
    done = await switch(
        cluster,
        run.environment.traffic,
        target=target,
        release_id=holder,
        by=f"rollback ({run.triggered_by or 'scheduler'})",
        reason=reason or "rolled back by hand",
        now=datetime.now(UTC),
        back=True,
        required=run.environment.replicas,
    )
    return done.changed


def record_switch_back(run: ReleaseRun, ledger: Ledger, done: dict[str, Any]) -> None:
    """Write the switch to the ledger, after the fact."""
    record(ledger, run, SWITCHED_BACK, done, actor=str(done["by"]))


async def drain_bad_slot(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> dict[str, Any]:
    """Move the connections that stayed on the slot that was left, whoever switched back, and measure it.

    A faulty version need not come up again: that is said, and no error.

    :raises TrafficError: the traffic has not been switched back
    """
    _, holder, moved = await _held(run, cluster)
    _require_back(moved)
    left = LeftSlot(run.environment, other(moved.to), holder, moved.at)
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
    _, _, moved = await _held(run, cluster)
    _require_back(moved)
    results = await prove_traffic(run, cluster, moved.to)
    service = await cluster.endpoints(run.environment.traffic.service)
    usable = usable_endpoints(service, run.environment.traffic.port)
    return {"slot": moved.to, "endpoints": usable, "checks": [result.sentence for result in results]}


async def summarise(run: ReleaseRun, cluster: Cluster, ledger: Ledger, reason: str) -> dict[str, Any]:
    """Write the end of the rollback to the ledger and give the environment free."""
    _, holder, moved = await _held(run, cluster)
    payload = {
        "release_id": holder,
        "slot": moved.to,
        "switched_at": moved.at.isoformat(),
        "switched_by": moved.by,
        "reason": moved.reason or reason,
    }
    log.info("%s of %s is rolled back to slot %s: %s", run.release.version, holder, moved.to, payload["reason"])
    entry = record(ledger, run, ROLLED_BACK, payload)
    try:
        await give_up(cluster, lease_name(run.environment), holder)
    except ClusterError as error:
        log.warning("the Lease of %s could not be given up, it will expire: %s", holder, error)
    return dict(entry.payload)


async def why_roll_back(run: ReleaseRun, cluster: Cluster, ledger: Ledger) -> str | None:
    """Return why DAG ``rollback`` has to be started for this run; None when it has not to."""
    try:
        _, holder, moved = await _held(run, cluster)
    except TrafficError as error:
        log.info("%s", error)
        return None
    if holder != run.release_id:
        return None
    if moved.direction == "back":
        return moved.reason if is_watch(moved.by) else None
    try:
        ended = recorded(ledger, run, WATCH_ENDED)
    except LedgerError as error:
        log.warning("%s", error)
        return None
    if ended and ended.payload.get("result") == "ROLLBACK_BLOCKED":
        return str(ended.payload.get("sentence", "a rollback was due and blocked"))
    return None
