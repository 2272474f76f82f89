"""One window per watch, from the cutover on, however often the task runs; another one only after it has ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from include.errors import RollbackBlocked, RolledBack, TrafficError, WatchHeld
from include.ledger.store import Ledger
from include.plan.loader import load_plan, plan_folder
from include.slo.samples import PodSample, Snapshot
from include.steps.arming import begin_watch
from include.steps.record import CUT_OVER, WATCH_PASSED, record, recorded
from include.steps.run import ReleaseRun, open_run
from include.steps.watch import conclude_watch
from include.watch.config import Baselines, WatchOutcome
from tests.memory import MemoryLedger
from tests.unit.steps.watching import begun, verified

CUTOVER = datetime(2030, 1, 1, 12, tzinfo=UTC)
POD = PodSample("uid", "green-1", CUTOVER.timestamp() - 1, latency_buckets=((0.5, 3.0), (float("inf"), 3.0)))
BASELINE = Snapshot(CUTOVER.timestamp() - 1, "green", (POD,), ready_endpoints=3)


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
def ledger(run: ReleaseRun) -> Ledger:
    memory = cast(Ledger, MemoryLedger())
    verified(memory, run)
    facts = Baselines(baselines={"openmetrics": BASELINE}).dump()
    record(memory, run, CUT_OVER, {"automatic_switch_back": True, "at": CUTOVER.isoformat(), **facts})
    return memory


def test_the_window_begins_at_the_cutover_however_late_the_task_runs(run: ReleaseRun, ledger: Ledger) -> None:
    config = begun(run, ledger)
    assert (config.source, config.target, config.may_switch_back) == ("blue", "green", True)
    assert config.cutover_at == config.began_at == CUTOVER.timestamp()
    assert config.deadline == CUTOVER.timestamp() + run.environment.watch.seconds
    assert config.baselines == {"openmetrics": BASELINE}


def test_a_task_that_is_run_again_goes_on_with_the_same_window(run: ReleaseRun, ledger: Ledger) -> None:
    assert begin_watch(run, ledger) == begin_watch(run, ledger)


def test_what_is_not_verified_is_not_watched(run: ReleaseRun) -> None:
    with pytest.raises(TrafficError, match=r"verify\.passed"):
        begin_watch(run, cast(Ledger, MemoryLedger()))


def test_after_a_window_that_ended_another_one_begins_and_may_pass(run: ReleaseRun, ledger: Ledger) -> None:
    first = begun(run, ledger)
    undecided = WatchOutcome(result="UNDECIDED", sentence="no traffic", at=1.0, number=first.number)
    with pytest.raises(WatchHeld, match="another window"):
        conclude_watch(run, ledger, undecided)
    second = begun(run, ledger)
    assert second.number == first.number + 1
    assert second.deadline - second.began_at == run.environment.watch.seconds
    assert second.baselines == {}, "its first look is what it counts from"
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
        ("UNDECIDED", WatchHeld),
        ("FENCED", WatchHeld),
    ],
)
def test_only_passed_and_accepted_are_success(
    run: ReleaseRun, ledger: Ledger, result: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        conclude_watch(run, ledger, WatchOutcome(result=result, sentence="why", at=1.0))
    assert recorded(ledger, run, WATCH_PASSED) is None


def test_a_human_may_accept(run: ReleaseRun, ledger: Ledger) -> None:
    outcome = WatchOutcome(result="ACCEPTED", sentence="accepted: thin traffic on a holiday", at=1.0)
    assert conclude_watch(run, ledger, outcome)["result"] == "ACCEPTED"
