"""The agreement between cutover and watch: nothing moves unwatched, and the window is fixed once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from include.errors import RolledBack, TrafficError, WatchAsleep
from include.ledger.store import Ledger
from include.slo.samples import Snapshot
from include.steps.arming import answer_cutover, arm, begin_watch, begun, watch_awake
from include.steps.record import (
    CUT_OVER,
    CUTOVER_INTENDED,
    WATCH_ARMED,
    WATCH_CALLED,
    WATCH_ENDED,
    WATCH_STARTED,
    record,
)
from include.steps.run import ReleaseRun
from include.steps.steering import record_order
from include.watch.config import Armed, Baselines, WatchConfig, load_watch
from include.watch.steer import ROLL_BACK
from tests.memory import MemoryLedger
from tests.unit.steps.watching import CUTOVER, answer, release_run, verified

SNAPSHOT = Snapshot(CUTOVER.timestamp() - 1, "green", ())


class Records:
    def __init__(self) -> None:
        self.run = release_run()
        self.memory = MemoryLedger()
        self.ledger = cast(Ledger, self.memory)
        verified(self.ledger, self.run)

    def intend(self) -> None:
        payload = {"automatic_switch_back": True, **Baselines(baselines={"openmetrics": SNAPSHOT}).dump()}
        record(self.ledger, self.run, CUTOVER_INTENDED, payload)

    def count(self, kind: str) -> int:
        return sum(entry.kind == kind for entry in self.memory.written)

    def armed(self) -> Armed:
        return arm(self.run, self.ledger)


@pytest.fixture
def records() -> Records:
    return Records()


async def _beside(records: Records, answering: Callable[[], object]) -> None:
    """Ask for the watch while ``answering`` is called again and again."""

    async def answers() -> None:
        while True:
            answering()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(answers())
    try:
        await watch_awake(records.run, records.ledger, limit_seconds=2.0)
    finally:
        task.cancel()


async def test_nothing_moves_while_nobody_watches(records: Records) -> None:
    with pytest.raises(WatchAsleep, match="nothing was moved") as refused:
        await watch_awake(records.run, records.ledger, limit_seconds=0.1)
    assert refused.value.retryable, "the triggerer may be back by the next attempt"


async def test_an_armed_watch_answers_each_attempt_once(records: Records) -> None:
    armed = records.armed()
    assert not answer_cutover(armed, records.ledger), "nobody has asked yet"
    assert records.count(WATCH_ARMED) == 0
    await _beside(records, lambda: answer_cutover(armed, records.ledger))
    assert (records.count(WATCH_CALLED), records.count(WATCH_ARMED)) == (1, 1)
    await _beside(records, lambda: answer_cutover(armed, records.ledger))
    assert (records.count(WATCH_CALLED), records.count(WATCH_ARMED)) == (2, 2)


async def test_the_answer_to_an_earlier_attempt_is_none(records: Records) -> None:
    await _beside(records, lambda: answer_cutover(records.armed(), records.ledger))
    with pytest.raises(WatchAsleep):
        await watch_awake(records.run, records.ledger, limit_seconds=0.1)


async def test_a_rollback_ordered_before_the_cutover_stops_it(records: Records) -> None:
    record_order(records.armed(), records.ledger, answer(ROLL_BACK, comment="wrong release"))
    with pytest.raises(RolledBack, match=r"technical-lead.*before the cutover.*wrong release") as refused:
        await watch_awake(records.run, records.ledger)
    assert not refused.value.retryable


def test_before_the_cutover_a_watch_is_armed_and_after_it_has_a_window(records: Records) -> None:
    armed = begin_watch(records.run, records.ledger)
    assert type(armed) is Armed
    record(records.ledger, records.run, CUT_OVER, {"automatic_switch_back": True, "at": CUTOVER.isoformat()})
    config = begin_watch(records.run, records.ledger)
    assert isinstance(config, WatchConfig)
    assert (config.source, config.target, config.cutover_at) == ("blue", "green", CUTOVER.timestamp())


def test_the_window_begins_at_the_switch_with_the_baseline_of_the_cutover_before_that_is_proven(
    records: Records,
) -> None:
    records.intend()
    config = begun(records.armed(), records.ledger, CUTOVER)
    assert config.cutover_at == config.began_at == CUTOVER.timestamp()
    assert config.deadline == CUTOVER.timestamp() + records.run.environment.watch.seconds
    assert (config.baselines, config.may_switch_back) == ({"openmetrics": SNAPSHOT}, True)
    assert begin_watch(records.run, records.ledger) == config, "a task that is run again goes on with it"


def test_of_two_processes_both_have_the_window_of_the_first(records: Records) -> None:
    records.intend()
    armed = records.armed()
    first = begun(armed, records.ledger, CUTOVER)
    assert begun(armed, records.ledger, CUTOVER + timedelta(minutes=1)) == first
    assert records.count(WATCH_STARTED) == 1


def test_a_process_that_slept_through_the_whole_watch_begins_no_other_one(records: Records) -> None:
    records.intend()
    asleep = records.armed()
    first = begun(asleep, records.ledger, CUTOVER)
    record(records.ledger, records.run, WATCH_ENDED, {"number": 0, "result": "UNDECIDED"})
    assert begun(asleep, records.ledger, datetime.now(UTC)) == first
    record(records.ledger, records.run, CUT_OVER, {"automatic_switch_back": True, "at": CUTOVER.isoformat()})
    second = begin_watch(records.run, records.ledger)
    assert isinstance(second, WatchConfig)
    assert (second.number, second.baselines) == (1, {})
    assert second.began_at > first.deadline


def test_no_window_begins_without_a_cutover_of_this_release(records: Records) -> None:
    with pytest.raises(TrafficError, match=r"cutover\.intended"):
        begun(records.armed(), records.ledger, CUTOVER)


def test_both_kinds_of_watch_travel_through_airflows_database(records: Records) -> None:
    records.intend()
    armed = records.armed()
    config = begun(armed, records.ledger, CUTOVER)
    assert load_watch(armed.dump()) == armed
    assert load_watch(config.dump()) == config


def test_another_run_of_the_same_release_has_an_agreement_of_its_own(records: Records) -> None:
    record(records.ledger, records.run, WATCH_CALLED, {"number": 1}, number=1)
    other: ReleaseRun = release_run("r2")
    verified(records.ledger, other)
    assert not answer_cutover(arm(other, records.ledger), records.ledger)
