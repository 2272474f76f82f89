"""Every kill point of every task of ``production-blue-green``, found by the tasks themselves: ``make faults``.

Releases go live one after the other, and in each of them every task is killed at the first two points at which
nobody has been killed yet; its third attempt is left alone. It ends with a release in which nobody finds a new
point.
"""

from __future__ import annotations

import pytest

from include.sandbox.environment import Sandbox
from tests.faults.releases import Faults, check, play

MOST_ROUNDS = 80


@pytest.mark.timeout(4 * 3600)
def test_every_kill_point(sandbox: Sandbox, faults: Faults) -> None:
    points: set[str] = set()
    for number in range(1, MOST_ROUNDS + 1):
        faults.order(".", kills_per_task=2)
        played = play(sandbox, faults)
        check(sandbox, played)
        points |= {one.point for one in played.kills}
        print(
            f"round {number}: {len(played.kills)} kills, {len(points)} points, {played.seconds:.0f} s", flush=True
        )
        if not played.kills:
            break
    else:
        pytest.fail(f"after {MOST_ROUNDS} rounds there are still new points: {sorted(points)[-20:]}")
    killed_in = {one.task for one in faults.reached() if one.killed}
    assert killed_in == {one.task for one in faults.reached()}, "a task with kill points was never killed"
