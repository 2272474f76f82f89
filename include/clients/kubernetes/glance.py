"""A cluster of which several readers look at the same things at the same time, and ask for them once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Final, TypeVar

from include.bluegreen.state import Endpoint, PodState, ServiceState
from include.clients.kubernetes.client import Cluster

T = TypeVar("T")

SAME_SECONDS: Final = 0.3


class Glance(Cluster):
    """Pods, endpoints and Services as they were at most 0.3 s ago; everything else is the cluster's own.

    For those who observe. Whoever is about to change something takes :attr:`fresh`.
    """

    def __init__(self, fresh: Cluster) -> None:
        self.fresh = fresh
        self.namespace = fresh.namespace
        self._transport = fresh._transport  # noqa: SLF001 - of its own class: the same connections
        self._asked: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def pods(self, labels: Mapping[str, str]) -> tuple[PodState, ...]:
        """See :meth:`Cluster.pods`."""
        return await self._once(("pods", tuple(sorted(labels.items()))), lambda: self.fresh.pods(labels))

    async def service(self, name: str) -> ServiceState | None:
        """See :meth:`Cluster.service`."""
        return await self._once(("service", name), lambda: self.fresh.service(name))

    async def endpoints(self, service: str) -> tuple[Endpoint, ...]:
        """See :meth:`Cluster.endpoints`."""
        return await self._once(("endpoints", service), lambda: self.fresh.endpoints(service))

    async def _once(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        now = asyncio.get_running_loop().time()
        asked = self._asked.get(key)
        if asked is None or now - asked[0] > SAME_SECONDS:
            asked = self._asked[key] = (now, asyncio.ensure_future(_answer(ask)))
            asked[1].add_done_callback(_seen)
        # Whoever gives up must not take the answer from the others.
        found: T = await asyncio.shield(asked[1])
        return found


async def _answer(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()


def _seen(task: asyncio.Task[Any]) -> None:
    """A failure that nobody waited for any more is nobody's."""
    if not task.cancelled():
        task.exception()


def fresh(cluster: Cluster) -> Cluster:
    """The cluster itself, for whoever is about to change something."""
    return cluster.fresh if isinstance(cluster, Glance) else cluster
