"""Where metrics come from: one adapter behind the port ``Source`` for each place."""

from __future__ import annotations

from include.clients.kubernetes import Cluster
from include.clients.openmetrics import snapshot
from include.plan.models import Environment, Slot
from include.plan.rules import SourceName
from include.slo.samples import Snapshot
from include.slo.source import Source


class OpenMetrics:
    """The pods themselves, read through the API server."""

    name: SourceName = "openmetrics"

    def __init__(self, environment: Environment, cluster: Cluster) -> None:
        self._environment = environment
        self._cluster = cluster

    async def look(self, slot: Slot, now: float) -> Snapshot:
        """Every pod of the slot."""
        return await snapshot(self._cluster, self._environment.traffic, slot, now)

    async def history(self, slot: Slot, since: float, until: float) -> tuple[Snapshot, ...]:
        """Pods remember nothing."""
        return ()


def open_sources(
    environment: Environment, cluster: Cluster, prometheus: object | None
) -> dict[SourceName, Source]:
    """Every source that some rule of the environment reads."""
    return {"openmetrics": OpenMetrics(environment, cluster)}
