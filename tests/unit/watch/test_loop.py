"""Every way a watch can end, over an application in memory and virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.slo.account import Account
from include.watch import WatchOutcome
from tests import virtual_time
from tests.unit.watch.worlds import CUTOVER, LENGTH, RELEASE_ID_OF_RUN, Erp, Watching, environment, since_cutover


def bad_from(second: float, ratio: float = 0.3) -> Any:
    return lambda at: ratio if at >= second else 0.0


def after(second: float, state: str) -> Any:
    return lambda now: state if now - CUTOVER >= second else "ok"


class TestHealth:
    def test_a_healthy_window_passes_at_its_deadline_with_the_figures_of_all_of_it(self) -> None:
        watching = Watching()
        outcome = watching.run()
        assert outcome.result == "PASSED", outcome.sentence
        assert LENGTH <= since_cutover(outcome.at) < LENGTH + 1
        assert outcome.measures["requests"] == pytest.approx(60 * LENGTH, rel=0.02)
        assert outcome.points, "and there is something to plot"
        assert watching.erp.patches == 0

    def test_without_traffic_nothing_has_passed(self) -> None:
        outcome = Watching(Erp(per_second=0)).run()
        assert (outcome.result, outcome.pages) == ("HELD", ("held",))
        assert "traffic" in outcome.sentence

    def test_an_error_rate_between_criterion_and_trigger_calls_a_human_and_holds(self) -> None:
        async def story() -> list[WatchOutcome]:
            watching = Watching(Erp(error_ratio=bad_from(20, 0.025)))
            noticed = await watching.watch()
            return [noticed, await watching.watch(watching.config().after(noticed))]

        noticed, held = virtual_time.run(story())
        assert (noticed.result, noticed.pages) == ("NOTICE", ("criterion",))
        assert held.result == "HELD"
        assert "error rate" in held.sentence

    def test_what_is_logged_at_the_very_end_is_read_before_anything_passes(self) -> None:
        class LateError(Erp):
            async def log_tail(self, pod: str, **_: Any) -> str:
                late = since_cutover(virtual_time.now()) >= LENGTH - 0.5
                return '{"level": "error", "logger": "erp", "message": "late"}' if late and "green" in pod else ""

        outcome = Watching(LateError()).run()
        assert outcome.result == "HELD", outcome.sentence
        assert "late" in outcome.sentence

    def test_progress_is_told_at_a_sane_rate_and_at_every_change(self) -> None:
        watching = Watching()
        watching.run()
        states = [told.state for told in watching.told]
        assert states[-1] == "HEALTHY"
        assert LENGTH / 15 <= len(states) <= LENGTH / 15 + 4
        assert watching.told[-1].polls >= LENGTH - 20


class TestRollback:
    def test_errors_switch_back_and_restart_the_slot_that_was_left(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30)))
        outcome = watching.run()
        assert (outcome.result, watching.erp.active) == ("ROLLED_BACK", "blue")
        assert 30 < since_cutover(outcome.switched_at) < 36
        assert [name for name, _ in watching.erp.restarted] == ["valeo-erp-production-green"]
        assert outcome.detected_at is not None
        assert "error rate" in outcome.sentence

    def test_slow_answers_switch_back(self) -> None:
        watching = Watching(Erp(seconds=lambda at: 3.0 if at > 30 else 0.02))
        outcome = watching.run()
        assert outcome.result == "ROLLED_BACK"
        assert "P95" in outcome.sentence

    def test_a_slot_that_crash_loops_is_left_although_it_says_nothing_any_more(self) -> None:
        watching = Watching()

        async def story() -> WatchOutcome:
            asyncio.get_running_loop().call_later(20, lambda: watching.erp.ready.update(green=0))
            watching.source.out = lambda now: now - CUTOVER > 22
            noticed = await watching.watch()
            assert noticed.result == "NOTICE", "a human knows before the trigger's time is up"
            return await watching.watch(watching.config().after(noticed))

        outcome = virtual_time.run(story())
        assert (outcome.result, watching.erp.active) == ("ROLLED_BACK", "blue")
        assert "no ready endpoint" in outcome.sentence

    def test_fewer_pods_than_required_switch_all_the_same_and_a_human_is_called(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20), ready={"blue": 1, "green": 3}))
        outcome = watching.run()
        assert (outcome.result, outcome.pages) == ("ROLLED_BACK", ("blocked",))
        assert "1 ready endpoint" in outcome.noticed[0]

    def test_with_nobody_to_go_back_to_nothing_moves_and_a_human_is_called_once(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20), ready={"blue": 0, "green": 3}))

        async def story() -> tuple[WatchOutcome, WatchOutcome]:
            blocked = await watching.watch()
            assert watching.erp.active == "green"
            asyncio.get_running_loop().call_later(15, lambda: watching.erp.ready.update(blue=3))
            return blocked, await watching.watch(watching.config().after(blocked))

        blocked, back = virtual_time.run(story())
        assert (blocked.result, blocked.pages) == ("ROLLBACK_BLOCKED", ("blocked",))
        assert "no ready endpoint" in blocked.sentence
        assert back.result == "ROLLED_BACK", "as soon as somebody had brought the old slot up"
        assert back.at - blocked.at > 15

    def test_a_rollback_that_stays_impossible_ends_undecided(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20), ready={"blue": 0, "green": 3}))

        async def story() -> WatchOutcome:
            return await watching.watch(watching.config().after(await watching.watch()))

        outcome = virtual_time.run(story())
        assert (outcome.result, watching.erp.patches) == ("UNDECIDED", 0)

    def test_where_it_may_not_act_by_itself_it_calls_a_human(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20)), may_switch_back=False)
        outcome = watching.run()
        assert outcome.result == "ROLLBACK_BLOCKED"
        assert (watching.erp.patches, watching.erp.active) == (0, "green")

    def test_an_api_server_that_is_away_is_asked_until_it_answers(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20)))
        watching.source.out = lambda _: False  # another way than through the API server

        async def story() -> WatchOutcome:
            loop = asyncio.get_running_loop()
            loop.call_later(19, lambda: setattr(watching.erp, "unreachable", True))
            loop.call_later(31, lambda: setattr(watching.erp, "unreachable", False))
            return await watching.watch()

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLED_BACK"
        assert 33 < since_cutover(outcome.at) < 36
        assert since_cutover(outcome.detected_at) < 26

    def test_one_that_stays_away_calls_a_human(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(20)))

        async def story() -> WatchOutcome:
            asyncio.get_running_loop().call_later(19, lambda: setattr(watching.erp, "unreachable", True))
            return await watching.watch()

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLBACK_BLOCKED"
        assert "no answer" in outcome.sentence


class TestMissingData:
    def test_metrics_that_are_out_call_a_human_once_and_never_pass(self) -> None:
        watching = Watching()
        watching.source.out = lambda now: now - CUTOVER > 10

        async def story() -> list[WatchOutcome]:
            noticed = await watching.watch()
            return [noticed, await watching.watch(watching.config().after(noticed))]

        noticed, held = virtual_time.run(story())
        assert (noticed.result, noticed.pages) == ("NOTICE", ("metrics",))
        assert 28 < since_cutover(noticed.at) < 36
        assert held.result == "HELD", "the human was called once; and no data is no success"
        assert watching.erp.patches == 0

    def test_metrics_that_come_back_and_go_again_call_again(self) -> None:
        watching = Watching()
        watching.source.out = lambda now: 10 < now - CUTOVER < 50 or now - CUTOVER > 60

        async def story() -> list[WatchOutcome]:
            first = await watching.watch()
            return [first, await watching.watch(watching.config().after(first))]

        first, second = virtual_time.run(story())
        assert [one.result for one in (first, second)] == ["NOTICE", "NOTICE"]
        assert since_cutover(second.at) > 75

    def test_metrics_out_and_users_not_served_switch_back(self) -> None:
        watching = Watching(probe_state=after(30, "failed"))
        watching.source.out = lambda now: now - CUTOVER > 10

        async def story() -> WatchOutcome:
            return await watching.watch(watching.config().after(await watching.watch()))

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLED_BACK"
        assert 70 <= since_cutover(outcome.at) < 82, "after down_seconds, not at once"

    def test_a_prober_that_cannot_judge_calls_a_human_and_moves_nothing(self) -> None:
        watching = Watching(probe_state=after(20, "unusable"))

        async def story() -> list[WatchOutcome]:
            noticed = await watching.watch()
            return [noticed, await watching.watch(watching.config().after(noticed))]

        noticed, held = virtual_time.run(story())
        assert (noticed.result, noticed.pages) == ("NOTICE", ("prober",))
        assert (held.result, watching.erp.patches) == ("HELD", 0)

    def test_a_source_with_a_defect_is_missing_data(self) -> None:
        watching = Watching()

        def broken(_: float) -> bool:
            raise KeyError("le")

        watching.source.out = broken
        config = watching.config()
        outcome = virtual_time.run(watching.watch(config))
        assert outcome.result == "NOTICE"
        assert "KeyError" in outcome.sentence


class TestHolding:
    def test_it_goes_on_after_the_window_and_still_switches_back(self) -> None:
        watching = Watching(Erp(per_second=5, error_ratio=bad_from(200, 0.9)))

        async def story() -> list[WatchOutcome]:
            held = await watching.watch()
            return [held, await watching.watch(watching.config().after(held))]

        held, back = virtual_time.run(story())
        assert (held.result, back.result) == ("HELD", "ROLLED_BACK")
        assert since_cutover(back.at) > 200

    def test_nobody_decides_and_health_that_comes_late_decides_nothing(self) -> None:
        watching = Watching(Erp(per_second=0))

        async def story() -> tuple[WatchOutcome, WatchOutcome]:
            held = await watching.watch()
            watching.erp.per_second = 60
            return held, await watching.watch(watching.config().after(held))

        held, end = virtual_time.run(story())
        assert end.result == "UNDECIDED"
        assert end.at - held.at == pytest.approx(300, abs=2)
        assert "nobody decided" in end.sentence

    def test_an_extended_window_is_judged_again(self) -> None:
        watching = Watching(Erp(per_second=0))

        async def story() -> WatchOutcome:
            held = await watching.watch()
            watching.erp.per_second = 60
            config = watching.config().after(held).extended(1800, now=virtual_time.now())
            assert config.hold_until is None
            return await watching.watch(config)

        outcome = virtual_time.run(story())
        assert outcome.result in ("PASSED", "HELD")
        assert since_cutover(outcome.at) == pytest.approx(LENGTH + 1800, abs=2)


class TestOthers:
    def left(self, how: Any) -> tuple[WatchOutcome, Watching]:
        watching = Watching()

        async def story() -> WatchOutcome:
            asyncio.get_running_loop().call_later(30, how, watching.erp)
            return await watching.watch()

        return virtual_time.run(story()), watching

    def test_a_selector_changed_by_hand_ends_it(self) -> None:
        outcome, _ = self.left(lambda erp: erp.select("blue"))
        assert outcome.result == "ROLLED_BACK_BY_HAND"
        assert "by hand" in outcome.sentence

    def test_the_rollback_of_a_human_ends_it(self) -> None:
        outcome, _ = self.left(lambda erp: back(erp, by="rollback (key user)"))
        assert outcome.result == "ROLLED_BACK_BY_HAND"
        assert outcome.switched_at is not None
        assert "key user" in outcome.sentence

    def test_the_other_of_two_triggerers_has_switched_back(self) -> None:
        outcome, _ = self.left(lambda erp: back(erp, by="watch"))
        assert outcome.result == "ROLLED_BACK"

    def test_another_release_holds_the_service(self) -> None:
        outcome, _ = self.left(lambda erp: erp.annotate(**{RELEASE_ID: "3.1.0@production/x"}))
        assert outcome.result == "FENCED"

    def test_the_service_is_gone(self) -> None:
        outcome, _ = self.left(lambda erp: setattr(erp, "state", None))
        assert outcome.result == "FENCED"

    def test_a_release_brought_forward_again_by_hand_is_nobodys_to_watch(self) -> None:
        def there_and_forward(erp: Erp) -> None:
            back(erp, by="rollback (key user)")
            erp.select("green")

        outcome, _ = self.left(there_and_forward)
        assert outcome.result == "FENCED"
        assert "by hand" in outcome.sentence

    def test_a_lease_of_somebody_else_stops_nothing(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(60)))

        async def story() -> WatchOutcome:
            running = asyncio.create_task(watching.watch())
            await asyncio.sleep(20)
            lease = watching.erp.leases.lease
            assert lease is not None
            watching.erp.leases.replace(replace(lease, holder="3.1.0@production/x"))
            return await running

        assert virtual_time.run(story()).result == "ROLLED_BACK"


def back(erp: Erp, *, by: str) -> None:
    """What another process of Stellwerk does."""
    erp.select("blue")
    moved = LastSwitch(
        "blue", by, "errors", datetime.fromtimestamp(virtual_time.now(), UTC), RELEASE_ID_OF_RUN, "back"
    )
    erp.annotate(**{LAST_SWITCH: moved.encode()})


class TestTwoAtOnce:
    def test_both_end_as_rolled_back_and_one_has_switched(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30)))

        async def story() -> list[WatchOutcome]:
            return await asyncio.gather(watching.watch(), watching.watch())

        outcomes = virtual_time.run(story())
        assert [outcome.result for outcome in outcomes] == ["ROLLED_BACK", "ROLLED_BACK"]
        assert watching.erp.patches == 1
        assert len(watching.erp.restarted) == 1

    def test_one_that_stalled_before_its_patch_wakes_in_another_world_and_does_nothing(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30)))

        def others_meanwhile(erp: Erp) -> None:
            virtual_time.stall(60)
            back(erp, by="watch")
            erp.select("green")

        watching.erp.before_patch.append(others_meanwhile)
        outcome = watching.run()
        assert outcome.result == "FENCED"
        assert (watching.erp.patches, watching.erp.active, watching.erp.restarted) == (0, "green", [])

    def test_one_that_stalled_while_it_watched_ends_as_the_other_left_it(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30, 0.15)))

        async def story() -> WatchOutcome:
            def others_meanwhile() -> None:
                virtual_time.stall(60)
                back(watching.erp, by="watch")
                watching.erp.select("green")

            asyncio.get_running_loop().call_later(30.5, others_meanwhile)
            return await watching.watch()

        outcome = virtual_time.run(story())
        assert outcome.result == "FENCED"
        assert watching.erp.patches == 0

    def test_after_the_switch_the_slot_is_not_restarted_once_it_takes_traffic_again(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30)))

        async def story() -> WatchOutcome:
            running = asyncio.create_task(watching.watch())
            while watching.erp.patches == 0:
                await asyncio.sleep(0.01)
            virtual_time.stall(60)
            watching.erp.select("green")
            return await running

        assert virtual_time.run(story()).result == "ROLLED_BACK"
        assert watching.erp.restarted == []


class TestRestart:
    def test_a_process_that_died_is_followed_by_one_that_goes_on_with_its_account(self) -> None:
        watching = Watching(environment_of(seconds=300.0))

        async def story() -> WatchOutcome:
            first = asyncio.create_task(watching.watch())
            await asyncio.sleep(100)
            first.cancel()
            await asyncio.wait({first})
            await asyncio.sleep(20)
            return await watching.watch(account=watching.kept[-1])

        outcome = virtual_time.run(story())
        assert outcome.result == "PASSED", outcome.sentence
        assert outcome.measures["requests"] == pytest.approx(60 * 300, rel=0.02)
        assert len(watching.kept) >= 2

    def test_calling_a_human_does_not_start_the_clock_of_an_outage_again(self) -> None:
        def outage(limit: float) -> tuple[WatchOutcome, ...]:
            watching = Watching(environment_of(page_after_seconds=limit))
            watching.source.out = lambda now: now > CUTOVER + 20
            watching.probe_state = after(25, "failed")

            async def story() -> tuple[WatchOutcome, ...]:
                outcomes = [await watching.watch()]
                while outcomes[-1].result == "NOTICE":
                    await asyncio.sleep(1)
                    outcomes.append(await watching.watch(watching.config().after(outcomes[-1])))
                return tuple(outcomes)

            return virtual_time.run(story())

        (uncalled,) = outage(100.0)
        notice, back = outage(20.0)
        assert (uncalled.result, notice.result, back.result) == ("ROLLED_BACK", "NOTICE", "ROLLED_BACK")
        assert since_cutover(uncalled.at) < 25 + 40 + 6, "down_seconds, and a round of the prober"
        assert since_cutover(back.at) < since_cutover(uncalled.at) + 6, "a round of the prober more"

    def test_a_killed_process_does_not_start_the_clock_of_an_outage_again(self) -> None:
        watching = Watching(environment_of(page_after_seconds=100.0, down_seconds=75.0))
        watching.erp.ready["green"] = 0

        async def story() -> WatchOutcome:
            first = asyncio.create_task(watching.watch())
            while not watching.kept:
                await asyncio.sleep(0.5)
            first.cancel()
            await asyncio.wait({first})
            await asyncio.sleep(3)
            return await watching.watch(account=Account.load(watching.kept[-1].dump()))

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLED_BACK", outcome.sentence
        assert since_cutover(outcome.at) < 75 + 5

    def test_without_any_checkpoint_the_counters_still_tell_of_the_whole_window(self) -> None:
        watching = Watching(environment_of(seconds=300.0))

        async def story() -> WatchOutcome:
            await asyncio.sleep(60)
            return await watching.watch()

        outcome = virtual_time.run(story())
        assert outcome.measures["requests"] == pytest.approx(60 * 300, rel=0.02)

    def test_a_store_fills_the_sliding_windows_so_that_a_fault_is_known_at_once(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(30)))
        watching.source.remembers = True

        async def story() -> WatchOutcome:
            store = asyncio.create_task(watching.source.scraping())
            await asyncio.sleep(45)
            outcome = await watching.watch()
            store.cancel()
            return outcome

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLED_BACK"
        assert since_cutover(outcome.at) < 49

    def test_pods_replaced_while_nobody_watched_are_counted_from_the_store(self) -> None:
        watching = Watching(environment_of(seconds=300.0))
        watching.source.remembers = True

        async def story() -> WatchOutcome:
            store = asyncio.create_task(watching.source.scraping())
            await asyncio.sleep(100)
            for pod in watching.erp.pods_of["green"]:
                pod.restart(virtual_time.now())
            await asyncio.sleep(20)
            outcome = await watching.watch()
            store.cancel()
            return outcome

        outcome = virtual_time.run(story())
        assert outcome.measures["requests"] == pytest.approx(60 * 300, rel=0.02)

    def test_a_window_that_a_human_began_later_counts_from_its_first_look(self) -> None:
        watching = Watching()

        async def story() -> WatchOutcome:
            await asyncio.sleep(200)
            began = virtual_time.now()
            config = watching.config(began_at=began, deadline=began + LENGTH, baselines={}, number=1)
            return await watching.watch(config)

        outcome = virtual_time.run(story())
        assert (outcome.result, outcome.number) == ("PASSED", 1), outcome.sentence
        assert outcome.measures["requests"] == pytest.approx(60 * LENGTH, rel=0.04)

    def test_whoever_is_told_may_hang_or_fail_without_delaying_a_switch(self) -> None:
        watching = Watching(Erp(error_ratio=bad_from(70)))

        async def hang(_: object) -> None:
            await asyncio.sleep(1e6)

        async def fail(_: object) -> None:
            raise RuntimeError("no ledger")

        async def story() -> WatchOutcome:
            from include.watch import watch

            world = replace(watching.world(), checkpoint=fail, progress=hang)
            return await watch(watching.config(), world)

        outcome = virtual_time.run(story())
        assert outcome.result == "ROLLED_BACK"
        assert 70 < since_cutover(outcome.switched_at) < 76


def environment_of(**watch: float) -> Erp:
    return Erp(environment(**watch))
