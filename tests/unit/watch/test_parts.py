"""The parts of a watch, each by itself: its rhythm, the prober's rounds, the slot, the baseline, what travels."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.bluegreen.state import DeploymentState, PodState
from include.clients.prober import ProbeResult
from include.slo.account import Account
from include.slo.samples import SlotSample, Snapshot
from include.watch import WatchConfig, WatchOutcome
from include.watch.baseline import take_baselines
from include.watch.config import Kept
from include.watch.rhythm import Feed, feeding, next_due, phase
from include.watch.rounds import judged
from include.watch.seeing import LOOK_LIMIT_SECONDS, look_once
from include.watch.sightings import Sightings, thinned
from include.watch.slotstate import SlotReader
from include.watch.window import Page
from tests import virtual_time
from tests.unit.watch.worlds import CUTOVER, Erp, MemorySource, Watching


class TestRhythm:
    @given(st.floats(0, 4e9), st.sampled_from([0.5, 1.0, 5.0, 15.0]), st.floats(0, 1, exclude_max=True))
    def test_the_next_time_is_ahead_and_within_one_interval(self, now: float, every: float, share: float) -> None:
        due = next_due(now, every, share)
        assert now < due <= now + every * 1.001

    def test_many_watches_are_spread_over_the_interval(self) -> None:
        shares = [phase(f"3.0.0@production/manual__{number}") for number in range(500)]
        in_tenths = [sum(n / 10 <= share < (n + 1) / 10 for share in shares) for n in range(10)]
        assert min(in_tenths) > 20
        assert max(in_tenths) < 90

    def test_a_feed_that_takes_too_long_or_fails_goes_on_at_its_next_time(self) -> None:
        times: list[float] = []

        async def read(at: float) -> None:
            times.append(at)
            if len(times) == 2:
                await asyncio.sleep(12)
            if len(times) == 3:
                raise RuntimeError("a defect")

        async def story() -> None:
            async with feeding([Feed("x", 5.0, read)], key="k", now=virtual_time.now):
                await asyncio.sleep(60)

        virtual_time.run(story())
        gaps = [later - earlier for earlier, later in pairwise(times[1:])]
        assert gaps[0] == pytest.approx(15)
        assert gaps[1:] == pytest.approx([5.0] * len(gaps[1:]))

    def test_the_first_look_of_all_is_waited_for_but_not_for_ever(self) -> None:
        async def hang(_: float) -> None:
            await asyncio.sleep(1e6)

        async def story() -> float:
            async with feeding([Feed("x", 5.0, hang)], key="k", now=virtual_time.now, first_seconds=2.0):
                return asyncio.get_running_loop().time()

        assert virtual_time.run(story()) == pytest.approx(2.0)


def result(*, ok: bool = True, usable: bool = True, sentence: str = "") -> ProbeResult:
    return ProbeResult("page", ok, 200 if ok else None, None, None, 0.1, sentence, usable)


@pytest.mark.parametrize(
    ("results", "state", "problem"),
    [
        ([result()], "ok", ""),
        ([result(), result(ok=False, sentence="orders: 500")], "failed", "orders: 500"),
        ([result(ok=False, usable=False, sentence="certificate")], "unusable", "certificate"),
        ([result(ok=False, usable=False, sentence="TLS"), result(ok=False, sentence="500")], "failed", "500"),
    ],
)  # fmt: skip
def test_one_round_of_the_prober_in_one_word(results: list[ProbeResult], state: str, problem: str) -> None:
    sample = judged(results, 5.0)
    assert (sample.at, sample.state, sample.problem) == (5.0, state, problem)


class TestSlot:
    async def test_what_the_api_says_of_a_slot(self) -> None:
        erp = Erp(ready={"blue": 3, "green": 2}, restarts=1)
        sample = await SlotReader(erp, erp.environment, "green").look(7.0)
        assert (sample.at, sample.wanted, sample.ready, sample.ready_endpoints) == (7.0, 3, 2, 2)
        assert sample.restarts == {"uid-green-0": 1, "uid-green-1": 1, "uid-green-2": 1}
        assert sample.not_ready == ("green-2 is not ready: Running, 1 restart(s)",)

    async def test_a_crash_loop_is_called_by_its_name(self) -> None:
        class Crashing(Erp):
            async def pods(self, labels: Any) -> tuple[PodState, ...]:
                crashed = PodState(
                    "green-0", "u", labels, "Running", ready=False, restarts=4,
                    waiting_reason="CrashLoopBackOff", terminated_reason="Error", cpu_cores=0.5,
                )  # fmt: skip
                return (crashed, replace(crashed, name="green-1", uid="v", deleting=True))

        erp = Crashing()
        sample = await SlotReader(erp, erp.environment, "green").look(7.0)
        assert sample.not_ready == ("green-0 is not ready: CrashLoopBackOff, 4 restart(s), ended before: Error",)
        assert sample.cpu_cores == {"green-0": 0.5}

    async def test_the_wanted_size_is_asked_for_seldom_and_at_once_when_pods_seem_to_be_missing(self) -> None:
        class Scaled(Erp):
            wanted, asked = 3, 0

            async def deployment(self, name: str) -> DeploymentState | None:
                self.asked += 1
                found = await super().deployment(name)
                return found and replace(found, replicas=self.wanted)

        erp = Scaled()
        reader = SlotReader(erp, erp.environment, "green")
        assert [(await reader.look(at)).wanted for at in (0.0, 15.0, 30.0)] == [3, 3, 3]
        assert erp.asked == 1
        erp.wanted, erp.ready["green"] = 2, 2
        assert (await reader.look(45.0)).wanted == 2, "an autoscaler asked for fewer: none is missing"
        assert erp.asked == 2
        erp.ready["green"] = 1
        missing = await reader.look(60.0)
        assert (missing.wanted, missing.ready, erp.asked) == (2, 1, 3)

    async def test_no_answer_is_no_statement(self) -> None:
        erp = Erp(unreachable=True)
        sample = await SlotReader(erp, erp.environment, "green").look(7.0)
        assert sample.ready_endpoints is None
        assert "no answer" in sample.problem


class TestBaseline:
    def test_a_source_that_hangs_or_is_missing_is_recorded_and_no_obstacle(self) -> None:
        class Hanging(MemorySource):
            async def look(self, slot: Any, now: float) -> Snapshot:
                await asyncio.sleep(1e6)
                raise AssertionError("unreachable")

        async def story() -> Any:
            sources = {"openmetrics": Hanging(Erp())}
            return await take_baselines(sources, "green", CUTOVER - 1, wanted=("openmetrics", "prometheus"))

        baselines = virtual_time.run(story()).baselines
        assert baselines["openmetrics"].errors == ("openmetrics gave no answer within 5 s",)
        assert baselines["prometheus"].errors == ("prometheus is not connected",)


def test_thinning_keeps_what_is_young_and_of_the_old_the_whole_ones() -> None:
    looks = [Snapshot(float(at), "green", errors=("out",) if at % 10 == 0 else ()) for at in range(100)]
    kept = thinned(looks, dense_seconds=20, apart=10)
    assert [one.taken_at for one in kept if one.taken_at >= 79] == [float(at) for at in range(79, 100)]
    assert len([one for one in kept if one.taken_at < 79]) <= 9
    assert not any(one.errors for one in kept if one.taken_at < 79)
    assert thinned(kept, dense_seconds=20, apart=10) == kept


class TestTravelling:
    def outcome(self, result: Any, pages: tuple[Page, ...] = ()) -> WatchOutcome:
        return WatchOutcome(result=result, sentence="why", at=CUTOVER + 120, pages=pages)

    def test_a_notice_keeps_the_window_and_what_was_paged(self) -> None:
        config = Watching().config()
        after = config.after(self.outcome("NOTICE", ("metrics",)))
        assert (after.hold_until, after.deadline, after.paged) == (None, config.deadline, ("metrics",))

    def test_holding_has_an_end_that_later_notices_do_not_move(self) -> None:
        config = Watching().config()
        held = config.after(self.outcome("HELD", ("held",)))
        assert held.hold_until == held.ends_at == CUTOVER + 120 + config.environment.watch.hold_seconds
        again = held.after(self.outcome("NOTICE", ("metrics",)).model_copy(update={"at": CUTOVER + 500}))
        assert again.hold_until == held.hold_until

    def test_an_extension_leaves_holding(self) -> None:
        held = Watching().config().after(self.outcome("HELD", ("held",)))
        extended = held.extended(600, now=CUTOVER + 200)
        assert (extended.hold_until, extended.deadline, extended.paged) == (None, CUTOVER + 800, ())

    def test_an_end_is_no_beginning(self) -> None:
        with pytest.raises(ValueError, match="PASSED is the end"):
            Watching().config().after(self.outcome("PASSED"))

    def test_an_account_survives_airflows_database(self) -> None:
        watching = Watching()
        watching.run()
        account: Account = watching.kept[-1]
        assert Kept.load(json.loads(json.dumps(Kept(account=account).dump()))).account == account
        config = watching.config(account=account)
        assert WatchConfig.load(json.loads(json.dumps(config.dump(), allow_nan=False))) == config

    def test_the_time_of_a_switch(self) -> None:
        outcome = self.outcome("ROLLED_BACK").model_copy(update={"switched_at": CUTOVER + 100})
        assert outcome.switched == datetime.fromtimestamp(CUTOVER + 100, UTC)


def test_samples_that_say_the_same_are_kept_often_enough_to_know_how_long() -> None:
    environment = Erp().environment
    seen = Sightings(environment.slo, environment.watch)
    for second in range(60):
        seen.saw_slot(SlotSample(float(second), ready_endpoints=0 if 20 <= second < 23 else 3))
    times = [sample.at for sample in seen.slot]
    assert len(times) < 25
    assert max(later - earlier for earlier, later in pairwise(times)) <= 5
    assert [sample.at for sample in seen.slot if sample.ready_endpoints == 0][:1] == [20.0]
    assert {19.0, 20.0, 22.0, 23.0} <= set(times), "no change is forgotten"


def test_the_last_look_leaves_a_source_that_is_silent_the_time_to_say_so() -> None:
    said: list[str] = []

    async def silent(at: float) -> None:
        try:
            async with asyncio.timeout(LOOK_LIMIT_SECONDS):
                await asyncio.sleep(60)
        except TimeoutError:
            said.append("no answer")

    virtual_time.run(look_once([Feed("metrics", 1.0, silent, at_end=True)], 0.0))
    assert said == ["no answer"]
