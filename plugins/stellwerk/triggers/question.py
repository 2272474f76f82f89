"""Close the question of a task that has ended, and hand on what was answered too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stellwerk.triggers.supervisor import SILENT, close_question


class CloseQuestionTrigger(BaseTrigger):
    """Close a question; the event's ``answer`` is what somebody answered, None when nobody did.

    :param ti_id: id of the task instance that asked
    :param why: what who looks at the question is told
    """

    def __init__(self, ti_id: str, why: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Airflow's is not annotated
        self.ti_id = ti_id
        self.why = why

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what survives a crash of the triggerer."""
        return ("stellwerk.triggers.question.CloseQuestionTrigger", {"ti_id": self.ti_id, "why": self.why})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Close it, or say that nobody could."""
        try:
            event: dict[str, Any] = {"answer": await close_question(UUID(self.ti_id), self.why)}
        except SILENT as error:
            event = {"answer": None, "unknown": f"{type(error).__name__}: {error}"}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's is not annotated
