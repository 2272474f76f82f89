"""The pods themselves as a source of metrics, for those without Prometheus."""

from __future__ import annotations

from include.clients.kubernetes import Cluster
from include.clients.openmetrics import snapshot
from include.plan.models import Environment
from include.plan.rules import SourceName
from include.plan.slots import Slot
from include.slo.samples import Snapshot


class OpenMetricsSource:
    """Reads every pod of a slot through the API server's pod proxy; it remembers nothing.

    :param pod_timeout_seconds: how long one pod may take
    """

    name: SourceName = "openmetrics"

    def __init__(self, environment: Environment, cluster: Cluster, *, pod_timeout_seconds: float = 3.0) -> None:
        self._environment = environment
        self._cluster = cluster
        self._pod_timeout_seconds = pod_timeout_seconds

    async def look(self, slot: Slot, now: float) -> Snapshot:
        """Read the slot's pods, all at once; see :meth:`include.slo.source.Source.look`."""
        return await snapshot(
            self._cluster,
            self._environment.traffic,
            slot,
            now,
            names=self._environment.slo.metrics,
            pod_timeout_seconds=self._pod_timeout_seconds,
        )

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        """Nothing: what pods counted in the past is known to nobody."""
        return ()
