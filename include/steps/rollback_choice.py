"""Which way back is taken: what the traffic Service says, what the old slot has, what could be brought back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from include.bluegreen.eligibility import (
    NEVER_BY_ITSELF,
    Candidate,
    Restorable,
    RollbackOption,
    SchemaProof,
    WayBack,
    chosen,
    rollback_options,
)
from include.bluegreen.fence import LastSwitch, last_switch, release_id
from include.bluegreen.slots import Slot, active_slot, other
from include.bluegreen.state import PodState, ServiceState
from include.clients.helm import Helm
from include.clients.kubernetes import Cluster
from include.errors import NotEnoughEndpoints, RollbackBlocked, RollbackRefused, TrafficServiceMissing
from include.plan.models import Traffic
from include.steps.candidate import find_candidate
from include.steps.run import ReleaseRun, parse_release_id

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """The traffic Service, the release id that a rollback acts under, and that release's last switch."""

    service: ServiceState
    holder: str
    moved: LastSwitch

    @property
    def old_slot(self) -> Slot:
        """The slot that a rollback returns to."""
        return other(self.moved.to) if self.moved.direction == "forward" else self.moved.to

    def by_hand(self, traffic: Traffic) -> bool:
        """Whether somebody returned the traffic by changing the selector, past Stellwerk."""
        return self.moved.direction == "forward" and active_slot(self.service, traffic) == self.old_slot


@dataclass(frozen=True)
class DatabaseSide:
    """What is known of the database, and how to look for what is not.

    :param rehearsal: id of the rehearsal that has proven the old version on the new schema
    :param look: looks for the backup that could be restored; it may take its time, so nobody calls it while a way
        is open that needs no backup
    """

    rehearsal: str = ""
    look: Callable[[], Restorable] | None = None


@dataclass(frozen=True)
class Situation:
    """What was found about every option."""

    held: Held
    way: WayBack
    options: tuple[RollbackOption, ...]

    def choose(self, wanted: str) -> RollbackOption:
        """The option that is taken.

        :raises RollbackRefused: there is no such option
        :raises RollbackBlocked: another one would do, and has to be asked for
        :raises NotEnoughEndpoints: none is possible: nothing moves, and humans have to act
        """
        if option := chosen(self.options, wanted):
            return option
        named = {option.name: option for option in self.options}
        known = named.get(wanted)  # type: ignore[call-overload]  # any text: an unknown one is refused here
        if known is None:
            raise RollbackRefused(f"there is no rollback option {wanted}", expected=", ".join(named))
        if named["auto"].eligible:
            raise RollbackBlocked(
                f"rollback option {wanted} is not possible, another one is",
                expected="an option that is possible, see the log",
                seen=known.reason,
                remedy=f"trigger the rollback again with option auto: it {named['auto'].reason}",
            )
        if (last := named[NEVER_BY_ITSELF]).eligible:
            raise RollbackBlocked(
                f"rollback option {wanted} is not possible, only {last.name} is",
                expected="an option that loses nothing",
                seen=known.reason,
                remedy=f"trigger the rollback again with option {last.name}: {last.reason}",
            )
        slot = self.held.old_slot
        raise NotEnoughEndpoints(
            f"rollback option {wanted} is not possible, and no other is",
            expected="an option that is possible",
            seen=known.reason,
            remedy=f"bring the old version up in slot {slot} by hand, then roll back again (docs/rollback.md)",
        )


def held_by(run: ReleaseRun, service: ServiceState | None) -> Held:
    """What a rollback of the run's release would act on.

    :raises TrafficServiceMissing: there is no traffic Service
    :raises RollbackRefused: the release never moved the traffic, or another one has since
    """
    traffic = run.environment.traffic
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
        raise RollbackRefused(
            f"{run.release.version} holds no traffic of {run.environment.name}: there is nothing to roll back",
            expected=f"a cutover of {run.release.version} as the last switch of Service {service.name}",
            seen=f"release id {holder or '(none)'}, last switch {moved.encode() if moved else '(none)'}",
            remedy="name the release that was cut over last",
        )
    return Held(service, holder, moved)


async def held(run: ReleaseRun, cluster: Cluster) -> Held:
    """See :func:`held_by`."""
    return held_by(run, await cluster.service(run.environment.traffic.service))


async def assess(
    run: ReleaseRun,
    cluster: Cluster,
    helm: Helm | None,
    schema: SchemaProof,
    found: Held,
    *,
    rehearsal: str = "",
) -> Situation:
    """Look at the old slot, and at what could be brought back into it.

    :param helm: None where there is no helm binary; then there is no Helm rollback
    """
    slot = found.old_slot
    candidate = await find_candidate(run, cluster, helm, slot, version=run.release.previous)
    pods: tuple[PodState, ...] = await cluster.pods(run.environment.traffic.selector_for(slot))
    ready = [pod for pod in pods if pod.ready and not pod.deleting]
    deployment = await cluster.deployment(run.environment.slot_release(slot))
    way = WayBack(
        schema=schema,
        ready=len(ready),
        required=run.environment.replicas,
        cleaned_up=deployment is None or deployment.replicas == 0,
        candidate=candidate,
        strange=strange_images(ready, candidate),
        rehearsal=rehearsal,
    )
    return Situation(found, way, rollback_options(way))


def strange_images(pods: list[PodState], candidate: Candidate) -> tuple[str, ...]:
    """Images of a slot's pods that the old version does not run; nothing while what it runs is not known."""
    if not candidate.images:
        return ()
    return tuple(sorted({pod.image for pod in pods} - candidate.images))


async def _with_backup(situation: Situation, wanted: str, database: DatabaseSide) -> Situation:
    """The situation with the backup that could be restored, where that plays a part."""
    needed = wanted == NEVER_BY_ITSELF or chosen(situation.options, "auto") is None
    if not needed or database.look is None or situation.way.schema == "unknown":
        return situation
    way = replace(situation.way, restorable=await asyncio.to_thread(database.look))
    return replace(situation, way=way, options=rollback_options(way))


async def choose(
    run: ReleaseRun,
    cluster: Cluster,
    helm: Helm | None,
    schema: SchemaProof,
    wanted: str,
    database: DatabaseSide | None = None,
) -> dict[str, Any]:
    """Say for every option whether it is possible, and refuse the one that was asked for when it is not.

    A full restore is also possible when the traffic is back already: that has not mended the data.

    :return: ``option`` that is taken, ``done`` whether the traffic is back already, ``release_id``, ``slot`` it
        returns to, and ``options`` with a reason each
    :raises RollbackRefused: nothing to roll back, or no such option
    :raises RollbackBlocked: another option would do
    :raises NotEnoughEndpoints: nobody could take the traffic
    """
    found = await held(run, cluster)
    answer = {"release_id": found.holder, "slot": found.old_slot}
    database = database or DatabaseSide()
    if found.moved.direction == "back" and wanted != NEVER_BY_ITSELF:
        moved = found.moved
        log.info("switched back already by %s at %s: %s", moved.by, moved.at.isoformat(), moved.reason)
        return {**answer, "option": "blue-cutover", "done": True, "options": {}}
    if found.by_hand(run.environment.traffic) and wanted != NEVER_BY_ITSELF:
        log.warning("users are on %s: the selector of the traffic Service was changed by hand", found.old_slot)
        return {**answer, "option": "blue-cutover", "done": True, "options": {}}
    situation = await assess(run, cluster, helm, schema, found, rehearsal=database.rehearsal)
    situation = await _with_backup(situation, wanted, database)
    for option in situation.options:
        log.info("%s: %s, %s", option.name, "possible" if option.eligible else "not possible", option.reason)
    taken = situation.choose(wanted)
    log.info("%s takes %s", wanted, taken.name)
    reasons = {option.name: [option.eligible, option.reason] for option in situation.options}
    return {**answer, "option": taken.name, "done": False, "options": reasons}
