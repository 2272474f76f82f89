"""Every way the watch of a migrated schema can end, over an application in memory and virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.bluegreen.fence import LAST_SWITCH, RELEASE_ID, LastSwitch
from include.plan.rules import NamedRule, Rule
from include.slo.account import Account
from include.watch import WatchOutcome
from include.watch.loop import watch_schema
from include.watch.schema import SchemaWindow, moved_meanwhile, triggers_alone
from tests import virtual_time
from tests.unit.watch.worlds import CUTOVER as MIGRATED
from tests.unit.watch.worlds import LENGTH, Erp, Watching, environment, since_cutover


@dataclass
class Schema(Watching):
    """The running version, green, whose schema was migrated two seconds ago."""

    def window(self, **changes: Any) -> SchemaWindow:
        assert self.erp.state is not None
        given = {
            "release_id": "3.0.0@production/migration",
            "version": "3.0.0",
            "environment": triggers_alone(self.erp.environment),
            "target": "green",
            "began_at": MIGRATED,
            "deadline": MIGRATED + LENGTH,
            "baselines": {self.source.name: self.baseline},
            "switch": self.erp.state.annotations.get(LAST_SWITCH),
        }
        return SchemaWindow(**{**given, **changes})

    async def seen(self, window: SchemaWindow | None = None, account: Account | None = None) -> WatchOutcome:
        """Watch as a process would that was given the window through Airflow's database."""
        given = SchemaWindow.load(json.loads(json.dumps((window or self.window()).dump(), allow_nan=False)))
        return WatchOutcome.load((await watch_schema(given, self.world(account))).dump())

    def ends(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> WatchOutcome:
        """Watch to the end, however often a human is called on the way."""

        async def story() -> WatchOutcome:
            other = asyncio.ensure_future(meanwhile()) if meanwhile else None
            window = self.window()
            outcome = await self.seen(window)
            while outcome.result == "NOTICE":
                window = window.after(outcome)
                outcome = await self.seen(window)
            if other:
                await other
            return outcome

        outcome = virtual_time.run(story())
        assert (self.erp.patches, self.erp.restarted) == (0, []), "it moves and restarts nothing, whatever it sees"
        assert self.erp.leases.lease is None, "and takes no turn from a release"
        return outcome


def from_second(second: float, bad: Any, good: Any) -> Callable[[float], Any]:
    return lambda at: bad if at >= second else good


def failing(first: float, last: float) -> Callable[[float], str]:
    """The public URL fails in these seconds since the migration."""
    return lambda now: "failed" if first <= now - MIGRATED < last else "ok"


class TestPassing:
    def test_it_ends_at_its_deadline_with_the_figures_of_the_whole_window(self) -> None:
        outcome = Schema().ends()
        assert outcome.result == "PASSED", outcome.sentence
        assert LENGTH <= since_cutover(outcome.at) < LENGTH + 1
        assert outcome.measures["requests"] == pytest.approx(60 * LENGTH, rel=0.02)
        assert (outcome.measures["errors"], outcome.measures["unknown_ratio"]) == (0, 0.0)
        assert outcome.points
        assert outcome.pages == ()

    def test_what_is_no_trigger_does_not_stop_it(self) -> None:
        """Above the criterion of a release and below its trigger; a restart; an error in the log."""
        watching = Schema(Erp(error_ratio=lambda _: 0.025))
        watching.erp.logs["green"] = '{"level": "error", "logger": "erp", "message": "new"}'

        async def restart() -> None:
            await asyncio.sleep(30)
            watching.erp.restarts = 1

        outcome = watching.ends(restart)
        assert outcome.result == "PASSED", outcome.sentence
        assert outcome.measures["restarts"] == 3

    def test_thin_traffic_proves_it_by_the_whole_window(self) -> None:
        """No moment has the 200 requests that the environment asks for, the window has."""
        outcome = Schema(Erp(environment(criteria={}), per_second=3)).ends()
        assert outcome.result == "PASSED", outcome.sentence

    def test_progress_is_told_at_a_sane_rate(self) -> None:
        watching = Schema()
        watching.ends()
        assert LENGTH / 15 <= len(watching.told) <= LENGTH / 15 + 4
        assert (watching.told[-1].state, watching.told[-1].holding) == ("HEALTHY", False)


class TestFiring:
    def fired(self, watching: Schema) -> WatchOutcome:
        outcome = watching.ends()
        assert (outcome.result, outcome.pages) == ("FIRED", ("held",)), outcome.sentence
        assert outcome.detected_at is not None
        assert watching.erp.active == "green"
        return outcome

    def test_errors(self) -> None:
        outcome = self.fired(Schema(Erp(error_ratio=from_second(30, 0.3, 0.0))))
        assert 30 < since_cutover(outcome.at) < 36
        assert "error rate" in outcome.sentence
        assert outcome.measures["errors"]

    def test_slow_answers(self) -> None:
        outcome = self.fired(Schema(Erp(seconds=from_second(30, 3.0, 0.02))))
        assert "P95" in outcome.sentence

    def test_a_public_url_that_fails_for_long(self) -> None:
        outcome = self.fired(Schema(Erp(environment(page_after_seconds=60.0)), probe_state=failing(20, 1e6)))
        assert 60 <= since_cutover(outcome.at) < 70, "after down_seconds, not at once"

    def test_no_endpoint(self) -> None:
        watching = Schema()
        watching.erp.ready["green"] = 0
        assert "no ready endpoint" in self.fired(watching).sentence

    def test_a_crash_loop(self) -> None:
        watching = Schema(probe_state=failing(30, 41))

        async def crash() -> None:
            await asyncio.sleep(35)
            watching.erp.restarts = 2

        outcome = watching.ends(crash)
        assert outcome.result == "FIRED"
        assert "6 container restarts" in outcome.sentence

    def test_metrics_out_and_users_not_served(self) -> None:
        watching = Schema(probe_state=failing(30, 1e6))
        watching.source.out = lambda now: now - MIGRATED > 10
        assert 70 <= since_cutover(self.fired(watching).at) < 82


class TestNotKnowing:
    def held(self, watching: Schema, said: str) -> WatchOutcome:
        outcome = watching.ends()
        assert (outcome.result, outcome.pages) == ("HELD", ("held",)), outcome.sentence
        assert said in outcome.sentence
        assert since_cutover(outcome.at) >= LENGTH - 1
        return outcome

    def silent(self) -> Schema:
        watching = Schema()
        watching.source.out = lambda now: now - MIGRATED > 10
        return watching

    def test_metrics_that_are_out_call_a_human(self) -> None:
        noticed = virtual_time.run(self.silent().seen())
        assert (noticed.result, noticed.pages) == ("NOTICE", ("metrics",))
        assert 28 < since_cutover(noticed.at) < 36

    def test_metrics_that_stay_out_are_no_pass_and_no_failure(self) -> None:
        outcome = self.held(self.silent(), "incomplete")
        assert not [state for _, state, _ in outcome.findings if state in ("DEGRADED", "ROLLBACK")]

    def test_metrics_that_come_back_do_not_make_up_for_what_was_not_seen(self) -> None:
        watching = Schema()
        watching.source.out = lambda now: 10 < now - MIGRATED < 50
        self.held(watching, "of the polls were unknown")

    def test_a_prober_that_cannot_judge(self) -> None:
        watching = Schema(probe_state=lambda now: "unusable" if now - MIGRATED > 20 else "ok")
        self.held(watching, "cannot be probed")

    def test_too_little_traffic(self) -> None:
        self.held(Schema(Erp(per_second=1)), "too little traffic")

    def test_a_window_whose_beginning_nobody_has_counted(self) -> None:
        watching = Schema()

        async def story() -> WatchOutcome:
            await asyncio.sleep(40)
            return await watching.seen(watching.window(baselines={}))

        assert "were not counted" in virtual_time.run(story()).sentence

    def test_a_window_that_is_over_before_anybody_looks(self) -> None:
        watching = Schema()

        async def story() -> WatchOutcome:
            await asyncio.sleep(LENGTH + 60)
            return await watching.seen()

        outcome = virtual_time.run(story())
        assert outcome.result == "HELD"
        assert since_cutover(outcome.at) < LENGTH + 70

    def test_a_url_that_fails_at_the_end_is_a_failing_end(self) -> None:
        outcome = self.held(Schema(probe_state=failing(LENGTH - 20, 1e6)), "the public URL fails")
        assert "DEGRADED" in {state for _, state, _ in outcome.findings}


class TestOthers:
    def moved(self, how: Callable[[Erp], object]) -> WatchOutcome:
        watching = Schema()

        async def meanwhile() -> None:
            await asyncio.sleep(30)
            how(watching.erp)

        return watching.ends(meanwhile)

    def test_a_cutover_ends_it(self) -> None:
        outcome = self.moved(lambda erp: erp.select("blue"))
        assert (outcome.result, outcome.pages) == ("MOVED", ("held",))
        assert "from green to blue" in outcome.sentence
        assert 28 < since_cutover(outcome.at) < 34

    def test_there_and_back_again_ends_it(self) -> None:
        outcome = self.moved(lambda erp: erp.annotate(**{LAST_SWITCH: switched()}))
        assert outcome.result == "MOVED"
        assert "is back" in outcome.sentence

    def test_a_service_that_is_gone_ends_it(self) -> None:
        outcome = self.moved(lambda erp: setattr(erp, "state", None))
        assert outcome.result == "MOVED"
        assert "not found" in outcome.sentence

    def test_a_release_that_only_takes_its_turn_does_not(self) -> None:
        assert self.moved(lambda erp: erp.annotate(**{RELEASE_ID: "3.0.0@production/release"})).result == "PASSED"

    def test_what_moved_while_no_process_watched_is_seen(self) -> None:
        watching = Schema()
        window, state = watching.window(), watching.erp.state
        assert moved_meanwhile(window, state, now=5.0) is None
        assert state is not None
        bare = replace(state, annotations={})
        outcome = moved_meanwhile(window, bare, now=5.0)
        assert outcome is not None
        assert (outcome.result, outcome.at) == ("MOVED", 5.0)
        assert moved_meanwhile(window.model_copy(update={"switch": None}), bare, now=5.0) is None

    def test_an_api_server_that_is_away_ends_nothing(self) -> None:
        watching = Schema()

        async def meanwhile() -> None:
            await asyncio.sleep(30)
            watching.erp.unreachable = True
            await asyncio.sleep(3)
            watching.erp.unreachable = False

        assert watching.ends(meanwhile).result == "PASSED"


def switched() -> str:
    at = datetime.fromtimestamp(virtual_time.now(), UTC)
    return LastSwitch("green", "rollback", "errors", at, "3.1.0@production/x", "back").encode()


class TestRestart:
    def test_killed_it_goes_on_with_what_is_left_of_the_window_and_with_all_that_was_counted(self) -> None:
        watching = Schema()

        async def story() -> WatchOutcome:
            first = asyncio.create_task(watching.seen())
            await asyncio.sleep(70)
            first.cancel()
            await asyncio.wait({first})
            await asyncio.sleep(5)
            return await watching.seen(account=watching.kept[-1])

        outcome = virtual_time.run(story())
        assert outcome.result == "PASSED", outcome.sentence
        assert LENGTH <= since_cutover(outcome.at) < LENGTH + 1
        assert outcome.measures["requests"] == pytest.approx(60 * LENGTH, rel=0.02)

    def test_a_notice_keeps_the_window_and_what_was_called_for(self) -> None:
        window = Schema().window()
        account = Account.begin({}, at=MIGRATED, source="openmetrics")
        told: dict[str, Any] = {"sentence": "no data", "at": MIGRATED + 60, "paged": ("prober",)}
        noticed = WatchOutcome(result="NOTICE", pages=("metrics",), account=account, **told)
        after = window.after(noticed)
        assert after == window.model_copy(update={"paged": ("prober", "metrics"), "account": account})
        assert after.after(noticed.model_copy(update={"account": None})).account == account

    @pytest.mark.parametrize("result", ["PASSED", "HELD", "FIRED", "MOVED"])
    def test_everything_else_is_an_end(self, result: Any) -> None:
        with pytest.raises(ValueError, match=f"{result} is the end"):
            Schema().window().after(WatchOutcome(result=result, sentence="so it is", at=MIGRATED))


class TestRules:
    def test_the_triggers_stay_and_their_limits_are_all_that_has_to_be_kept(self) -> None:
        queue = NamedRule(name="queue", limit=5, query="max(queue)")
        slow = Rule(limit=2.0, for_seconds=15, min_requests=50)
        base = environment(
            criteria={"memory_bytes": 1e9, "cpu_ratio": 0.5, "sse_connections": 100, "more": (queue,)},
            slo={"triggers": {"p95_seconds": slow, "more": (queue,)}, "source": "openmetrics"},
        )
        judged = triggers_alone(base)
        assert judged.slo.triggers == base.slo.triggers
        criteria = judged.slo.criteria
        assert (criteria.error_rate, criteria.p95_seconds) == (
            Rule(limit=0.05, min_requests=1),
            Rule(limit=2.0, for_seconds=15, min_requests=1),
        )
        off = (criteria.memory_bytes, criteria.cpu_ratio, criteria.sse_connections, criteria.more)
        assert (*off, criteria.pods, criteria.logs) == (None, None, None, (), False, False)
        assert triggers_alone(judged, min_requests=200).slo.criteria.error_rate.min_requests == 200
        assert judged.model_copy(update={"slo": base.slo}) == base, "and nothing else is changed"

    def test_a_burst_that_is_over_counts_over_the_whole_window(self) -> None:
        """With ``for_seconds`` no trigger is broken by it, and 5 % of all requests have failed."""
        triggers = {"error_rate": {"limit": 0.05, "for_seconds": 60}}
        erp = Erp(environment(slo={"triggers": triggers}), error_ratio=lambda at: 0.5 if 40 <= at < 60 else 0.0)
        outcome = Schema(erp).ends()
        assert outcome.result == "HELD"
        assert "not below 5 %" in outcome.sentence
