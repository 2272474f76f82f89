"""Who holds the traffic Service, and where the preview Service points: guarded changes, each safe to repeat."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from include.bluegreen.decisions import fenced
from include.bluegreen.fence import release_id as holder_of
from include.bluegreen.slots import Slot, active_slot
from include.bluegreen.state import ServiceState
from include.bluegreen.switch import claim_patch, switch_patch
from include.clients.kubernetes import Cluster
from include.errors import PatchRefused, TrafficServiceMissing
from include.plan.models import Traffic

ATTEMPTS: Final = 4


async def claim(
    cluster: Cluster, traffic: Traffic, release_id: str, *, observed: ServiceState | None = None
) -> ServiceState:
    """Put the release's id on the traffic Service: from then on every other release is fenced off.

    Whether it may is the caller's to decide (``check_claim``), from the Service it observed: when that is given, a
    Service that somebody else has claimed since is left alone.

    :return: the traffic Service, held by the release
    :raises ReleaseFenced: another release was faster
    :raises TrafficServiceMissing: there is no traffic Service
    :raises UnknownSelector: it names neither slot
    :raises PatchRefused: it never held still
    """
    service = observed or await cluster.service(traffic.service)
    decided_about = None if service is None else holder_of(service)
    failure: PatchRefused | None = None
    for _ in range(ATTEMPTS):
        active_slot(service, traffic)
        assert service is not None, "active_slot refuses a missing Service"
        held_by = holder_of(service)
        if held_by == release_id:
            return service
        if held_by != decided_about:
            raise fenced(service.name, held_by, release_id).error()
        try:
            return await cluster.patch_service(traffic.service, claim_patch(service, release_id))
        except PatchRefused as error:
            failure = error
        service = await cluster.service(traffic.service)
    assert failure is not None, "every attempt that neither returned nor raised has failed"
    raise failure


async def acknowledge_back(
    cluster: Cluster,
    traffic: Traffic,
    service: ServiceState,
    *,
    release_id: str,
    by: str,
    reason: str,
    now: datetime,
) -> ServiceState:
    """Note on the traffic Service that somebody returned the traffic past Stellwerk; the selector stays as it is.

    :param service: as it was observed, with the traffic where it came from
    :raises ReleaseFenced: another release holds it
    :raises PatchRefused: it is another by now: observe again
    """
    slot = active_slot(service, traffic)
    patch = switch_patch(
        service,
        selector=service.selector,
        to=slot,
        release_id=release_id,
        by=by,
        reason=reason,
        now=now,
        back=True,
    )
    return await cluster.patch_service(service.name, patch)


async def point_preview(cluster: Cluster, traffic: Traffic, slot: Slot) -> ServiceState:
    """Let the preview Service select ``slot``, whatever it selected before.

    :raises TrafficServiceMissing: there is no preview Service
    :raises PatchRefused: it never held still
    """
    name, wanted = traffic.preview_service, traffic.selector_for(slot)
    failure: PatchRefused | None = None
    for _ in range(ATTEMPTS):
        service = await cluster.service(name)
        if service is None:
            raise TrafficServiceMissing(
                f"preview Service {name} not found",
                expected=f"a Service {name} in namespace {cluster.namespace}",
                remedy="create it once, outside of any Helm release, pointing at the idle slot",
            )
        if dict(service.selector) == wanted:
            return service
        try:
            return await cluster.patch_service(name, _whole_selector(service, wanted))
        except PatchRefused as error:
            failure = error
    assert failure is not None, "every attempt that neither returned nor raised has failed"
    raise failure


def _whole_selector(service: ServiceState, wanted: dict[str, str]) -> list[dict[str, Any]]:
    # null passes only while there is no selector
    observed = dict(service.selector) or None
    return [
        {"op": "test", "path": "/spec/selector", "value": observed},
        {"op": "add", "path": "/spec/selector", "value": wanted},
    ]
