"""What a step does when its process is told to end: it cancels what it waits for, and disturbs nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from include.steps.run import ReleaseRun
from stellwerk.operators.base import StellwerkOperator


class Step(StellwerkOperator):
    """One that waits for whatever it is given."""

    def act(self, run: ReleaseRun) -> Any:
        raise NotImplementedError


def test_a_kill_cancels_what_is_waited_for() -> None:
    step, ended = Step(task_id="t"), []

    async def child() -> None:
        asyncio.get_running_loop().call_soon(step.on_kill)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("its own children")

    with pytest.raises(asyncio.CancelledError):
        step.wait_for(child())
    assert ended == ["its own children"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_kill_before_or_after_that_raises_nothing_into_what_the_step_does(fails: bool) -> None:
    step = Step(task_id="t")
    step.on_kill()

    async def child() -> str:
        if fails:
            raise OSError("no answer")
        return "done"

    if fails:
        with pytest.raises(OSError, match="no answer"):
            step.wait_for(child())
    else:
        assert step.wait_for(child()) == "done"
    step.on_kill()
