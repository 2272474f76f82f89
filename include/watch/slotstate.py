"""What the API server says about the watched slot: who can be reached, who is ready, who restarted and why."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from include.bluegreen.capacity import usable_endpoints
from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.errors import ClusterError
from include.plan.models import Environment
from include.plan.slots import Slot
from include.slo.samples import SlotSample

_SIZE_SECONDS: Final = 60.0


class SlotReader:
    """Reads a slot again and again; what changes seldom (its wanted size) is asked for seldom."""

    def __init__(self, cluster: Cluster, environment: Environment, slot: Slot) -> None:
        self._cluster = cluster
        self._environment = environment
        self._slot = slot
        self._wanted: tuple[float, int | None] = (-math.inf, None)

    async def look(self, at: float) -> SlotSample:
        """Read the slot's pods and the traffic Service's endpoints at once; never raises.

        :param at: seconds since the epoch, what the sample will bear
        """
        traffic = self._environment.traffic
        try:
            endpoints, pods, wanted = await asyncio.gather(
                self._cluster.endpoints(traffic.service),
                self._cluster.pods(traffic.selector_for(self._slot)),
                self._size(at),
            )
            present = [pod for pod in pods if not pod.deleting and pod.phase != "Succeeded"]
            if sum(pod.ready for pod in present) < (wanted or 0):
                wanted = await self._size(at, within=0.0)  # an autoscaler may have asked for fewer meanwhile
        except ClusterError as error:
            return SlotSample(at=at, problem=str(error))
        return SlotSample(
            at=at,
            ready_endpoints=usable_endpoints(endpoints, traffic.port),
            wanted=wanted,
            ready=sum(pod.ready for pod in present),
            restarts={pod.uid: pod.restarts for pod in present},
            cpu_cores={pod.name: pod.cpu_cores for pod in present if pod.cpu_cores is not None},
            not_ready=tuple(_why(pod) for pod in present if not pod.ready),
        )

    async def _size(self, at: float, *, within: float = _SIZE_SECONDS) -> int | None:
        asked_at, wanted = self._wanted
        if at - asked_at >= within and at != asked_at:
            deployment = await self._cluster.deployment(self._environment.slot_release(self._slot))
            wanted = deployment.replicas if deployment else None
            self._wanted = (at, wanted)
        return wanted


def _why(pod: PodState) -> str:
    reason = pod.waiting_reason or (pod.started_at is None and pod.terminated_reason) or pod.phase
    restarts = f", {pod.restarts} restart(s)" if pod.restarts else ""
    last = f", ended before: {pod.terminated_reason}" if pod.restarts and pod.terminated_reason else ""
    return f"{pod.name} is not ready: {reason}{restarts}{last}"
