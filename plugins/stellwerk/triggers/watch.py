"""The trigger behind the watch: it evaluates, and when it must, it switches back itself (DESIGN, section 6)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class WatchTrigger(BaseTrigger):
    """Run :func:`include.watch.watch` and end with its outcome.

    :param config: a dumped :class:`include.watch.WatchConfig`; all times in it are absolute, so a trigger
        that another triggerer resumes goes on where the first one was killed
    """

    def __init__(self, config: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.config = config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what survives a crash of the triggerer."""
        return ("stellwerk.triggers.watch.WatchTrigger", {"config": self.config})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until there is an outcome; there is exactly one event."""
        # Seconds of imports must not hold up the other triggers of this process.
        await asyncio.to_thread(_import_clients)
        from include.watch import WatchConfig, World, watch
        from stellwerk.hooks.kubernetes import ClusterHook

        config = WatchConfig.load(self.config)
        hook = await ClusterHook.aread(config.connection)
        async with hook.cluster(config.namespace) as cluster:
            outcome = await watch(config, World(cluster))
        yield TriggerEvent(outcome.dump())  # type: ignore[no-untyped-call]  # Airflow's is not annotated


def _import_clients() -> None:
    for name in ("airflow.providers.cncf.kubernetes.hooks.kubernetes", "include.watch"):
        importlib.import_module(name)
