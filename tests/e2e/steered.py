"""A task that asks and waits in a trigger at the same time: what the watch is, without a watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from airflow.sdk import BaseOperator
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from airflow.triggers.base import BaseTrigger, TriggerEvent

from stellwerk.triggers.supervisor import close_question, read_answer, show


class Steered(BaseOperator):
    """Ask, pause as long as the run's conf says, defer; an answer "again" asks again."""

    def execute(self, context: Any) -> None:
        self._ask(context, "the first question")
        context["ti"].xcom_push(key="ti_id", value=str(context["ti"].id))
        self._defer(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> None:
        seen = [*(context["ti"].xcom_pull(task_ids=self.task_id, key="events", default=None) or []), _plain(event)]
        context["ti"].xcom_push(key="events", value=seen)
        time.sleep(float(context["params"]["pause_after"]))
        if event.get("chosen_options") == ["again"]:
            self._ask(context, "the second question")
            self._defer(context)

    def _ask(self, context: Any, body: str) -> None:
        user = {"id": "technical-lead", "name": "technical-lead"}
        upsert_hitl_detail(context["ti"].id, ["again", "enough"], "Go on?", body, params={}, assigned_users=[user])

    def _defer(self, context: Any) -> None:
        time.sleep(float(context["params"]["pause_before"]))
        seconds = float(context["params"]["seconds"])
        self.defer(
            trigger=SteeredTrigger(until=time.time() + seconds, close=bool(context["params"]["close"])),
            method_name="execute_complete",
        )


class Look(BaseOperator):
    """Read, in a trigger, the answer that another task instance got."""

    def execute(self, context: Any) -> None:
        time.sleep(float(context["params"]["look_after"]))
        ti_id = context["ti"].xcom_pull(task_ids="ask", key="ti_id")
        self.defer(trigger=LookTrigger(ti_id=ti_id), method_name="execute_complete")

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        return event


class SteeredTrigger(BaseTrigger):
    """Show progress until the time is up; an answer that is there at the start ends it at once."""

    def __init__(self, until: float, close: bool) -> None:
        super().__init__()
        self.until, self.close = until, close

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("tests.e2e.steered.SteeredTrigger", {"until": self.until, "close": self.close})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ti = self.task_instance
        if found := await _first_answer(ti.id):
            yield TriggerEvent({**found, "found": "at the start"})
            return
        while time.time() < self.until:
            await show(ti, "progress", {"at": time.time()})
            await asyncio.sleep(0.5)
        before = await close_question(ti.id, "the time is up") if self.close else None
        yield TriggerEvent({"result": "time is up", "before": before})


async def _first_answer(ti_id: UUID) -> dict[str, Any] | None:
    """The answer, asked for again for a minute: a triggerer's first question loads Airflow's API into it."""
    until = time.time() + 60
    while True:
        try:
            return await read_answer(ti_id)
        except TimeoutError:
            if time.time() > until:
                raise


class LookTrigger(BaseTrigger):
    """Read the answer of a task instance, then close its question and read again."""

    def __init__(self, ti_id: str) -> None:
        super().__init__()
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("tests.e2e.steered.LookTrigger", {"ti_id": self.ti_id})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        read = await read_answer(UUID(self.ti_id))
        closed = await close_question(UUID(self.ti_id), "nobody is asked any more")
        yield TriggerEvent({"read": read, "closed": closed})


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name == "responded_at" else value for name, value in event.items()}
