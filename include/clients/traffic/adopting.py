"""Making what was there before Stellwerk a slot, and giving it back: guarded changes of the traffic Service."""

from __future__ import annotations

from include.bluegreen.adopted import ADOPTED, finish_patch, takeover_patch, undo_patch
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.plan.legacy import Legacy


async def take_over(cluster: Cluster, service: ServiceState, legacy: Legacy, release_id: str) -> ServiceState:
    """Mark ``legacy`` as a slot and take the Service out of Helm's hands, if it is still as it was observed.

    :return: the Service, held by the release
    :raises PatchRefused: the Service is another by now: observe and decide again
    """
    patch = takeover_patch(service, legacy, release_id)
    return await cluster.patch_service(service.name, patch) if patch else service


async def give_back(cluster: Cluster, service: ServiceState, legacy: Legacy, release_id: str) -> ServiceState:
    """Make the Service what it was before its adoption.

    A selector that was narrowed is widened again only where that changes nothing: pods of a new version that would
    match the former one keep it narrow.

    :raises ReleaseFenced: another release holds the Service
    :raises PatchRefused: the Service is another by now: observe and decide again
    """
    now = {pod.uid for pod in await cluster.pods(service.selector) if not pod.deleting}
    formerly = {pod.uid for pod in await cluster.pods(legacy.former.selector) if not pod.deleting}
    selector = legacy.former.selector if formerly == now else service.selector
    return await cluster.patch_service(service.name, undo_patch(service, legacy, release_id, selector))


async def finish(cluster: Cluster, name: str) -> None:
    """End the adoption: the adopted installation is gone.

    :raises PatchRefused: the annotation was changed at the same moment
    """
    service = await cluster.service(name)
    if service is None or ADOPTED not in service.annotations:
        return
    await cluster.patch_service(name, finish_patch(service))
