"""A few of the kill points, the ones after which most is at stake; `make faults` takes all of them."""

from __future__ import annotations

from include.sandbox.environment import Sandbox
from tests.faults.releases import Faults, check, check_rollback, play, roll_back

SAMPLE = {
    "deploy_idle_slot": r"in helm upgrade",
    "cutover": r"after PATCH services valeo-erp,",
    "drain": r"after PATCH deployments",
    "clean_up": r"after PATCH deployments .* scale",
    "announce_cutover": r"after send slack",
}

# Of the rollback of that release, whose old slot has been cleaned up.
BACK = {
    "bring_back": r"in helm rollback",
    "switch_back": r"after PATCH services valeo-erp,",
    "drain": r"after ledger append drain\.done",  # each point kills once: its PATCH has, in the release
    "slack_alert": r"after send slack",
}


def test_a_release_whose_tasks_are_killed_converges(sandbox: Sandbox, faults: Faults) -> None:
    faults.order(*(f"^{task}: {moment}" for task, moment in SAMPLE.items()), kills_per_task=1)
    played = play(sandbox, faults)
    assert {one.task for one in played.kills} == set(SAMPLE), "somebody was not killed: the points have changed"
    check(sandbox, played)


def test_its_rollback_whose_tasks_are_killed_converges(sandbox: Sandbox, faults: Faults) -> None:
    faults.order(*(f"^{task}: {moment}" for task, moment in BACK.items()), kills_per_task=1)
    played = roll_back(sandbox, faults)
    assert {one.task for one in played.kills} == set(BACK), "somebody was not killed: the points have changed"
    check_rollback(sandbox, played)
