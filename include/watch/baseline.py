"""Where a window begins: what every source says of the slot to be watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final

from include.clients.kubernetes import Cluster
from include.clients.metrics import open_sources
from include.clients.prometheus import Prometheus
from include.errors import StellwerkError
from include.plan.models import Environment
from include.plan.rules import SourceName
from include.plan.slots import Slot
from include.slo.samples import Snapshot
from include.slo.source import Source
from include.watch.config import Baselines

log = logging.getLogger(__name__)

LIMIT_SECONDS: Final = 5.0


def sources_if_any(
    environment: Environment, cluster: Cluster, prometheus: Prometheus | None
) -> Mapping[SourceName, Source]:
    """Every source that rules read; none where they cannot be opened, which is said and is no obstacle."""
    try:
        return open_sources(environment, cluster, prometheus)
    except StellwerkError as error:
        log.warning("the metrics cannot be read, the watch will have no baseline: %s", error)
        return {}


async def take_baselines(
    sources: Mapping[SourceName, Source],
    slot: Slot,
    now: float,
    *,
    wanted: Collection[SourceName] = (),
    limit_seconds: float = LIMIT_SECONDS,
) -> Baselines:
    """Look through every source at once. One that does not answer in time is recorded as missing, and no obstacle.

    :param now: seconds since the epoch
    :param wanted: the sources that rules read; what of them is not among ``sources`` is missing
    """
    looks = await asyncio.gather(*(look(source, slot, now, limit_seconds) for source in sources.values()))
    baselines = dict(zip(sources, looks, strict=True))
    for name in sorted(set(wanted) - set(sources)):
        baselines[name] = Snapshot(taken_at=now, slot=slot, errors=(f"{name} is not connected",))
    for name, snapshot in baselines.items():
        if snapshot.errors:
            log.warning("the baseline of %s is incomplete: %s", name, "; ".join(snapshot.errors))
    return Baselines(baselines=baselines)


async def look(source: Source, slot: Slot, now: float, limit_seconds: float) -> Snapshot:
    """One look that ends in time and never raises: what went wrong is among its errors."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await source.look(slot, now)
    except TimeoutError:
        problem = f"{source.name} gave no answer within {limit_seconds:g} s"
    except StellwerkError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - a defect of a source must not end a watch, nor stop a cutover
        problem = f"{source.name} failed: {type(error).__name__}: {error}"
    return Snapshot(taken_at=now, slot=slot, errors=(problem,))
