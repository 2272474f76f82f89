"""The trigger behind the watch: it evaluates, and when it must, it switches back itself (DESIGN, section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stellwerk.triggers.showing import import_clients, shower
from stellwerk.triggers.supervisor import SILENT, close_question, read_answer

if TYPE_CHECKING:
    from include.watch.config import Armed, WatchConfig, WatchOutcome

#: after these nobody steers any more
ENDS: Final = frozenset({"PASSED", "ROLLED_BACK", "ROLLED_BACK_BY_HAND", "FENCED", "UNDECIDED", "NOT_CUT_OVER"})

_UNHURRIED: Final = ENDS - {"ROLLED_BACK", "ROLLED_BACK_BY_HAND"}
_CANCEL_SECONDS = 3.0
_ASK_AGAIN_SECONDS: Final = 5.0


class WatchTrigger(BaseTrigger):
    """Run :func:`include.watch.watch` and end with its outcome.

    An answer that was given before the task was deferred resumes nothing (FACTS): the trigger finds it when it
    starts and ends with it. When the watch is over it closes the question, so that who answers then is refused
    instead of ignored; ``late_answer`` of its event is an answer that was faster than that.

    Armed, it first waits for the cutover, with everything open that it is going to read; its event then tells the
    window that it has begun (``config``).

    :param config: a dumped :class:`include.watch.WatchConfig`, or the armed watch before it; all times in it are
        absolute, so a trigger that another triggerer resumes goes on where the first one was killed
    :param cutover: id of the task that moves the traffic
    """

    def __init__(self, config: dict[str, Any], cutover: str = "cutover", **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.config = config
        self.cutover = cutover

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what survives a crash of the triggerer."""
        return ("stellwerk.triggers.watch.WatchTrigger", {"config": self.config, "cutover": self.cutover})

    @property
    def _ti(self) -> Any:
        """The task instance that deferred; Airflow sets it before it runs the trigger."""
        return self.task_instance

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until there is an outcome or an answer; there is exactly one event."""
        # Seconds of imports must not hold up the other triggers of this process.
        await asyncio.to_thread(import_clients, "stellwerk.triggers.armed")
        from include.watch.config import load_watch

        watching = asyncio.create_task(self._watch(load_watch(self.config)))
        asking = asyncio.create_task(self._early_answer())
        try:
            await asyncio.wait({watching, asking}, return_when=asyncio.FIRST_COMPLETED)
            answer = asking.result() if asking.done() else None
            if answer is None or watching.done():
                event = await self._event(await watching)
            else:
                event = answer
        finally:
            # Also when Airflow cancels this trigger: nothing of it may go on watching.
            for task in (watching, asking):
                task.cancel()
            await asyncio.gather(watching, asking, return_exceptions=True)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's is not annotated

    async def _watch(self, watched: WatchConfig | Armed) -> WatchOutcome:
        from include.watch.arming import not_cut_over, ordered_early
        from include.watch.config import WatchConfig
        from include.watch.loop import watch
        from stellwerk.triggers.armed import begin
        from stellwerk.triggers.world import open_world, with_account

        async with open_world(watched, shower(self._ti, watched.environment.watch.poll_seconds)) as world:
            if isinstance(watched, WatchConfig):
                config = watched
            else:
                begun = await begin(watched, world.cluster, self._ti, self.cutover)
                if begun is None:
                    return not_cut_over(world.now())
                config, self.config = begun.config, begun.config.dump()
                if begun.order is not None:
                    return ordered_early(begun.order, world.now())
            return await watch(config, await with_account(world, config))

    async def _early_answer(self) -> dict[str, Any] | None:
        """The answer that was given before this trigger began; None when there is none."""
        while True:
            try:
                return await read_answer(self._ti.id)
            except SILENT as error:
                self.log.warning("whether there is an answer is not known yet: %s", type(error).__name__)
            except Exception:  # whatever it is, it must not end the watch
                self.log.exception("whether there is an answer cannot be known")
                return None
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _event(self, outcome: WatchOutcome) -> dict[str, Any]:
        # The window may have begun only here.
        event = {**outcome.dump(), "config": self.config}
        if outcome.result not in ENDS:
            return event
        if outcome.result in _UNHURRIED:
            # A triggerer that was stalled may end a window that people have extended since: Airflow cancels its
            # trigger within a second or two, and until then it must not close the question of the longer watch.
            await asyncio.sleep(_CANCEL_SECONDS)
        try:
            late = await close_question(self._ti.id, f"the watch is over: {outcome.result}")
        except Exception as error:  # noqa: BLE001 - the outcome must not be lost by it
            self.log.warning("the question stays open: %s", type(error).__name__)
            return event
        return {**event, "closed": late is None, "late_answer": late}
