"""A few of the kill points, the ones after which most is at stake; `make faults` takes all of them."""

from __future__ import annotations

from include.sandbox.environment import Sandbox
from tests.faults.releases import Faults, check, play

SAMPLE = {
    "deploy_idle_slot": r"in helm upgrade",
    "cutover": r"after PATCH services valeo-erp,",
    "drain": r"after PATCH deployments",
    "clean_up": r"after PATCH deployments .* scale",
    "announce_cutover": r"after send slack",
}


def test_a_release_whose_tasks_are_killed_converges(sandbox: Sandbox, faults: Faults) -> None:
    faults.order(*(f"^{task}: {moment}" for task, moment in SAMPLE.items()), kills_per_task=1)
    played = play(sandbox, faults)
    assert {one.task for one in played.kills} == set(SAMPLE), "somebody was not killed: the points have changed"
    check(sandbox, played)
