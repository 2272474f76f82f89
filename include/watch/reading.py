"""Reading the newest log lines of both slots' pods through the API server, seldom and of bounded size."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Final, Protocol

from include.bluegreen.state import PodState
from include.clients.kubernetes import Cluster
from include.errors import ClusterError, ClusterRefused
from include.plan.models import Environment
from include.plan.slots import Slot
from include.slo.samples import LogSample
from include.watch.logs import Level, Seen, compared, signatures

EVERY_SECONDS: Final = 30.0
SELDOM_SECONDS: Final = 45.0
# More than so many lines of usual length: the server cuts an answer that is too long at its newest end.
_LINES: Final = 500
_BYTES: Final = 512 * 1024
_SHORT: Final = 16 * 1024
_MOST_PODS: Final = 8
_TOGETHER: Final = 2


class _ReadOne(Protocol):
    async def __call__(self, pod: PodState, *, previous: bool) -> Counter[tuple[Level, str]]: ...


class LogComparison:
    """What both slots have logged since the cutover (and the one that was left before it, too).

    Of a slot with many pods, or of pods that log more than 500 lines between two looks, it is a sample.

    :param since: from when on the watched slot's lines count; seconds since the epoch
    """

    def __init__(
        self, cluster: Cluster, environment: Environment, *, watched: Slot, left: Slot, since: float
    ) -> None:
        self._cluster = cluster
        self._traffic = environment.traffic
        self._slots = (watched, left)
        self._since: dict[Slot, float | None] = {watched: since, left: None}
        self._seen: dict[Slot, Seen] = {watched: Seen({}), left: Seen({})}
        self._crashed: set[tuple[str, int]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def look(self, at: float) -> LogSample:
        """Read what is new in both slots and compare; never raises.

        :param at: seconds since the epoch, what the sample will bear
        """
        try:
            async with self._one_at_a_time:
                for slot in self._slots:
                    found = await self._read(slot)
                    self._seen[slot] = self._seen[slot].adding(found)
                    self._since[slot] = at
        except ClusterError as error:
            return LogSample(at, problem=f"the logs could not be compared: {error}")
        watched, left = (self._seen[slot].counts for slot in self._slots)
        return compared(watched, left, at)

    async def _read(self, slot: Slot) -> Counter[tuple[Level, str]]:
        pods = await self._cluster.pods(self._traffic.selector_for(slot))
        together = asyncio.Semaphore(_TOGETHER)

        async def one(pod: PodState, *, previous: bool) -> Counter[tuple[Level, str]]:
            since = self._since[slot]
            async with together:
                text = await self._cluster.log_tail(
                    pod.name,
                    lines=_LINES,
                    previous=previous,
                    container=pod.container or None,
                    since=None if since is None or previous else datetime.fromtimestamp(since, UTC),
                    limit_bytes=_BYTES,
                )
            # Half a megabyte takes milliseconds that belong to the other watches of this process; of a short text
            # it is the thread that would.
            return signatures(text) if len(text) <= _SHORT else await asyncio.to_thread(signatures, text)

        async def lenient(pod: PodState) -> Counter[tuple[Level, str]]:
            try:
                return await one(pod, previous=False)
            except ClusterRefused:
                if pod.ready:
                    raise
                return Counter()  # its container comes or goes

        total: Counter[tuple[Level, str]] = Counter()
        chosen = [pod for pod in pods if not pod.deleting][:_MOST_PODS]
        for found in await asyncio.gather(*(lenient(pod) for pod in chosen if pod.started_at is not None)):
            total.update(found)
        for pod in chosen:
            total.update(await self._last_words(pod, one))
        return total

    async def _last_words(self, pod: PodState, one: _ReadOne) -> Counter[tuple[Level, str]]:
        """Of a container that ended, once: why it did is in the log that the restart put aside."""
        if not pod.restarts or (pod.uid, pod.restarts) in self._crashed:
            return Counter()
        self._crashed.add((pod.uid, pod.restarts))
        try:
            return await one(pod, previous=True)
        except ClusterError:
            return Counter()  # put aside already by the next restart
