"""What a trigger asks of its supervisor: a question's answer, closing a question, showing progress.

A message that the supervisor does not know is never answered, and one that knows may be slow: every call has a
time limit of its own. A question is the row under the required actions that a task instance records; a trigger can
read and answer it, a task can only record it (FACTS, Humans).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from airflow.sdk.exceptions import AirflowRuntimeError

if TYPE_CHECKING:
    from uuid import UUID

#: seconds until a supervisor that says nothing counts as silent
PATIENCE_SECONDS: Final = 5.0

#: what the calls of this module raise when the supervisor refuses or says nothing
SILENT: Final = (TimeoutError, AirflowRuntimeError)

_AT_ONCE: Final = 4
_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

#: the answer that Stellwerk itself gives when nobody is asked any more
CLOSED: Final = "closed"


async def read_answer(ti_id: UUID) -> dict[str, Any] | None:
    """Return the answer to the task instance's question; None while there is none, or when it was closed.

    :return: the payload that Airflow resumes a task with, its time as ISO text
    :raises TimeoutError: the supervisor says nothing
    :raises AirflowRuntimeError: the task instance never asked, or Airflow's API gives no answer
    """
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse

    detail = await _ask(GetHITLDetailResponse(ti_id=ti_id))
    if not detail.response_received or list(detail.chosen_options or []) == [CLOSED]:
        return None
    user = detail.responded_by_user
    return {
        "chosen_options": list(detail.chosen_options or []),
        "params_input": dict(detail.params_input or {}),
        "responded_at": detail.responded_at.isoformat() if detail.responded_at else None,
        "responded_by_user": {"id": user.id, "name": user.name} if user else None,
        "timedout": False,
    }


async def close_question(ti_id: UUID, why: str) -> dict[str, Any] | None:
    """Close the question: who answers from now on is refused (409). Return the answer that was there before.

    :raises TimeoutError: the supervisor says nothing
    :raises AirflowRuntimeError: the task instance never asked, or Airflow's API gives no answer
    """
    from airflow.sdk.execution_time.comms import UpdateHITLDetail

    try:
        await _ask(UpdateHITLDetail(ti_id=ti_id, chosen_options=[CLOSED], params_input={"comment": why}))
    except AirflowRuntimeError:
        # Answered or closed already, or it cannot be done: reading tells which.
        return await read_answer(ti_id)
    return None


async def show(ti: Any, key: str, value: Any) -> None:
    """Write an XCom of the trigger's task instance, which people see while it is deferred.

    :raises TimeoutError: the supervisor says nothing
    :raises AirflowRuntimeError: Airflow's API gives no answer
    """
    from airflow.sdk.execution_time.comms import SetXCom

    await _ask(SetXCom(key=key, value=value, **_place(ti)))


async def shown(ti: Any, key: str) -> Any:
    """Read an XCom of the trigger's task instance; None when there is none.

    :raises TimeoutError: the supervisor says nothing
    :raises AirflowRuntimeError: Airflow's API gives no answer
    """
    from airflow.sdk.execution_time.comms import GetXCom

    return (await _ask(GetXCom(key=key, **_place(ti)))).value


async def state_of(ti: Any, task_id: str) -> str | None:
    """The state of another task of the trigger's run; None when it has none.

    :raises TimeoutError: the supervisor says nothing
    :raises AirflowRuntimeError: Airflow's API gives no answer
    """
    from airflow.sdk.execution_time.comms import GetTaskStates

    asked = GetTaskStates(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    found = (await _ask(asked)).task_states
    state = (found.get(ti.run_id) or {}).get(task_id)
    return None if state is None else str(getattr(state, "value", state))


def _place(ti: Any) -> dict[str, Any]:
    """Whose XComs: the fields by which Airflow's messages name a task instance."""
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}


async def _ask(message: Any) -> Any:
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    async with _lane():
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await SUPERVISOR_COMMS.asend(message)


def _lane() -> asyncio.Semaphore:
    """Who may ask now. The supervisor answers one after the other: hundreds at once would all lose patience."""
    return _lanes.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))
