"""What the API server says about the watched slot: who can be reached, who is ready, who restarted and why."""

from __future__ import annotations

import asyncio

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.errors import ClusterError
from include.plan.models import Environment
from include.plan.slots import Slot
from include.slo.samples import SlotSample


async def look_at_slot(cluster: Cluster, environment: Environment, slot: Slot, at: float) -> SlotSample:
    """Read the slot's pods, its Deployment and the traffic Service's endpoints at once; never raises.

    :param at: seconds since the epoch, what the sample will bear
    """
    traffic = environment.traffic
    try:
        endpoints, pods, deployment = await asyncio.gather(
            cluster.endpoints(traffic.service),
            cluster.pods(traffic.selector_for(slot)),
            cluster.deployment(environment.slot_release(slot)),
        )
    except ClusterError as error:
        return SlotSample(at=at, problem=str(error))
    present = [pod for pod in pods if not pod.deleting and pod.phase != "Succeeded"]
    return SlotSample(
        at=at,
        ready_endpoints=usable_endpoints(endpoints, traffic.port),
        wanted=deployment.replicas if deployment else None,
        ready=sum(pod.ready for pod in present),
        restarts={pod.uid: pod.restarts for pod in present},
        cpu_cores={pod.name: pod.cpu_cores for pod in present if pod.cpu_cores is not None},
        not_ready=tuple(_why(pod) for pod in present if not pod.ready),
    )


def _why(pod: PodState) -> str:
    reason = pod.waiting_reason or (pod.started_at is None and pod.terminated_reason) or pod.phase
    restarts = f", {pod.restarts} restart(s)" if pod.restarts else ""
    last = f", ended before: {pod.terminated_reason}" if pod.restarts and pod.terminated_reason else ""
    return f"{pod.name} is not ready: {reason}{restarts}{last}"
