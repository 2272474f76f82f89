"""One window per watch, however often the task runs; another one only after it has ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from include.clients.kubernetes import Cluster
from include.errors import RollbackBlocked, RolledBack, WatchHeld
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.slo.samples import Snapshot
from include.steps import watch as watching
from include.steps.record import CUT_OVER, STARTED, WATCH_PASSED, record, recorded
from include.steps.run import ReleaseRun, open_run
from include.steps.watch import WatchOutcome, begin_watch, conclude_watch
from tests.memory import MemoryLedger


@pytest.fixture
def run() -> ReleaseRun:
    return open_run(
        load_plan(plan_folder()),
        release="3.0.0",
        environment="production",
        phase="production-blue-green",
        run_id="r1",
        triggered_by="release-manager",
    )


@pytest.fixture
def ledger(run: ReleaseRun, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    async def look(cluster: Cluster, traffic: object, slot: Any, *, now: float) -> Snapshot:
        return Snapshot(now, slot, ready_endpoints=3)

    monkeypatch.setattr(watching, "snapshot", look)
    memory = cast(Ledger, MemoryLedger())
    record(memory, run, STARTED, {"from": "blue", "to": "green"})
    record(memory, run, CUT_OVER, {"automatic_switch_back": True, "at": "2030-01-01T12:00:00+00:00"})
    return memory


async def test_a_task_that_is_run_again_goes_on_with_the_same_window(run: ReleaseRun, ledger: Ledger) -> None:
    cluster = cast(Cluster, SimpleNamespace())
    first = await begin_watch(run, cluster, ledger)
    assert await begin_watch(run, cluster, ledger) == first
    assert (first.source, first.target, first.may_switch_back) == ("blue", "green", True)
    assert first.deadline - first.started_at == run.environment.watch.seconds


async def test_after_a_held_window_another_one_begins_and_may_pass(run: ReleaseRun, ledger: Ledger) -> None:
    cluster = cast(Cluster, SimpleNamespace())
    first = await begin_watch(run, cluster, ledger)
    with pytest.raises(WatchHeld, match="another window"):
        conclude_watch(
            run, ledger, WatchOutcome(result="HELD", sentence="no traffic", at=1.0, number=first.number)
        )
    second = await begin_watch(run, cluster, ledger)
    assert second.number == first.number + 1
    assert recorded(ledger, run, WATCH_PASSED) is None
    conclude_watch(run, ledger, WatchOutcome(result="PASSED", sentence="fine", at=2.0, number=second.number))
    assert recorded(ledger, run, WATCH_PASSED) is not None


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ("ROLLED_BACK", RolledBack),
        ("ROLLED_BACK_BY_HAND", RolledBack),
        ("ROLLBACK_BLOCKED", RollbackBlocked),
        ("HELD", WatchHeld),
        ("FENCED", WatchHeld),
    ],
)
def test_only_passed_is_success(run: ReleaseRun, ledger: Ledger, result: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        conclude_watch(run, ledger, WatchOutcome(result=result, sentence="why", at=1.0))
    assert recorded(ledger, run, WATCH_PASSED) is None
