"""The trigger behind the watch of a migrated schema: it judges and tells, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stellwerk.triggers.showing import import_clients, shower

if TYPE_CHECKING:
    from include.watch.config import WatchOutcome
    from include.watch.schema import SchemaWindow


class SchemaWatchTrigger(BaseTrigger):
    """Run :func:`include.watch.loop.watch_schema` and end with its outcome.

    Two triggerers may run it at once: each only looks, and one event is enough.

    :param window: a dumped :class:`include.watch.schema.SchemaWindow`; all times in it are absolute, so a trigger
        that another triggerer resumes goes on where the first one was killed
    """

    def __init__(self, window: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.window = window

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what survives a crash of the triggerer."""
        return ("stellwerk.triggers.schema.SchemaWatchTrigger", {"window": self.window})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until there is an outcome; there is exactly one event."""
        await asyncio.to_thread(import_clients)
        from include.watch.schema import SchemaWindow

        outcome = await self._watch(SchemaWindow.load(self.window))
        yield TriggerEvent(outcome.dump())  # type: ignore[no-untyped-call]  # Airflow's is not annotated

    async def _watch(self, window: SchemaWindow) -> WatchOutcome:
        from include.steps.database.entries import MIGRATION_WATCH_CHECKPOINT
        from include.watch.loop import watch_schema
        from stellwerk.triggers.world import open_world, with_account

        progress = shower(self.task_instance, window.environment.watch.poll_seconds)
        async with open_world(window, progress) as world:
            return await watch_schema(window, await with_account(world, window, kind=MIGRATION_WATCH_CHECKPOINT))
