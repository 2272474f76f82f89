"""The watch on the new schema as a step: its window in the ledger, and what its end means."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from include.bluegreen.fence import LAST_SWITCH
from include.bluegreen.state import ServiceState
from include.clients.kubernetes import Cluster
from include.errors import (
    ClusterUnreachable,
    FailsOnNewSchema,
    LedgerUnavailable,
    TrafficError,
    TrafficServiceMissing,
)
from include.ledger.store import Ledger
from include.plan.slots import Slot
from include.slo.samples import Snapshot
from include.steps.database.entries import (
    MIGRATION_VERIFIED,
    MIGRATION_WATCH_FAILED,
    MIGRATION_WATCH_STARTED,
    MIGRATION_WATCHED,
    NEEDLESS,
    NOTHING_PENDING,
    note,
)
from include.steps.database.watch import begin_window, called_for, conclude, open_window, settled
from include.steps.database.watched import not_seen_well
from include.steps.record import all_recorded, record, recorded
from include.steps.schema_course import (
    LEFT_OLD,
    MIGRATED,
    MIGRATION_INTENDED,
    TAKEN_BACK,
    UNDONE,
)
from include.watch.config import Kept, WatchOutcome
from include.watch.schema import SchemaWindow, triggers_alone
from tests.memory import MemoryLedger
from tests.unit.steps.database.worlds import a_ledger, a_run

T0 = datetime(2030, 5, 1, 9, tzinfo=UTC)
RUN = a_run(watch_seconds=600)


def migrated(run_id: str = "r1") -> Ledger:
    ledger = a_ledger()
    record(ledger, a_run(run_id), MIGRATED, {"fingerprint": "f"}, at=T0)
    return ledger


@dataclass
class Traffic:
    """A cluster whose traffic Service selects a slot."""

    slot: Slot | None = "blue"
    away: bool = False
    asked: int = 0

    async def service(self, name: str) -> ServiceState | None:
        assert name == RUN.environment.traffic.service
        self.asked += 1
        if self.away:
            raise ClusterUnreachable("no answer")
        if self.slot is None:
            return None
        selector = RUN.environment.traffic.selector_for(self.slot)
        return ServiceState(name, selector, {LAST_SWITCH: "the last one"}, "1")


@pytest.fixture(autouse=True)
def metrics(monkeypatch: pytest.MonkeyPatch) -> list[Slot]:
    """The slots whose baseline was taken."""
    looked: list[Slot] = []

    class Source:
        name = "openmetrics"

        async def look(self, slot: Slot, now: float) -> Snapshot:
            looked.append(slot)
            return Snapshot(now, slot, ready_endpoints=3)

    monkeypatch.setattr(
        "include.steps.database.watch.sources_if_any", lambda *_: {"openmetrics": cast(Any, Source())}
    )
    return looked


async def begun(ledger: Ledger, traffic: Traffic | None = None) -> SchemaWindow:
    return await begin_window(RUN, cast(Cluster, traffic or Traffic()), ledger)


def outcome(result: Any, *findings: tuple[str, str, str], **more: Any) -> WatchOutcome:
    told = {"measures": {"requests": 9000, "errors": 0}, "findings": findings, **more}
    return WatchOutcome(result=result, sentence="so it was", at=T0.timestamp() + 600, **told)


class TestBeginning:
    async def test_the_window_is_counted_from_the_migration_whoever_begins_it_when(
        self, metrics: list[Slot]
    ) -> None:
        ledger = migrated()
        window = await begun(ledger)
        assert (window.began_at, window.deadline) == (T0.timestamp(), T0.timestamp() + 600)
        assert (window.target, window.switch, window.number) == ("blue", "the last one", 0)
        assert (window.release_id, window.version) == (RUN.release_id, "3.0.0")
        assert window.environment == triggers_alone(RUN.environment)
        assert metrics == ["blue"]
        assert window.baselines["openmetrics"].ready_endpoints == 3

    async def test_it_begins_once_and_stays_with_the_slot_it_began_with(self) -> None:
        ledger, later = migrated(), Traffic("green")
        first = await begun(ledger)
        assert await begun(ledger, later) == first
        assert open_window(RUN, ledger, retried=True) == first
        assert open_window(RUN, ledger, retried=False) == first
        assert (later.asked, len(all_recorded(ledger, RUN, MIGRATION_WATCH_STARTED))) == (0, 1)

    async def test_whatever_slot_takes_the_traffic_is_watched(self) -> None:
        assert (await begun(migrated(), Traffic("green"))).target == "green"

    async def test_nothing_begins_while_nobody_knows_which_that_is(self) -> None:
        ledger = migrated()
        for traffic, error in ((Traffic(away=True), ClusterUnreachable), (Traffic(None), TrafficServiceMissing)):
            with pytest.raises(error):
                await begun(ledger, traffic)
        assert open_window(RUN, ledger, retried=True) is None

    async def test_nothing_begins_where_nothing_was_migrated(self) -> None:
        with pytest.raises(TrafficError, match="the watch on the new schema refused"):
            await begun(a_ledger())
        undone = migrated("another run")
        record(undone, a_run("another run"), TAKEN_BACK, {})
        with pytest.raises(TrafficError, match="the watch on the new schema refused"):
            await begun(undone)

    async def test_after_a_failure_a_human_gets_another_window_that_begins_now(self) -> None:
        ledger = migrated()
        first = await begun(ledger)
        with pytest.raises(FailsOnNewSchema):
            conclude(RUN, ledger, first, outcome("HELD"))
        before = time.time()
        second = await begun(ledger, Traffic("green"))
        assert before <= second.began_at <= time.time()
        assert (second.number, second.target) == (1, "green")
        assert second.deadline == second.began_at + 600
        assert open_window(RUN, ledger, retried=True) == second
        with pytest.raises(FailsOnNewSchema):
            conclude(RUN, ledger, second, outcome("MOVED"))
        results = [entry.payload["result"] for entry in all_recorded(ledger, RUN, MIGRATION_WATCH_FAILED)]
        assert (results, (await begun(ledger)).number) == (["HELD", "MOVED"], 2)

    async def test_an_attempt_that_died_after_its_watch_had_failed_fails_as_it_would_have(self) -> None:
        ledger = migrated()
        with pytest.raises(FailsOnNewSchema) as told:
            conclude(RUN, ledger, await begun(ledger), outcome("FIRED"))
        with pytest.raises(FailsOnNewSchema) as again:
            open_window(RUN, ledger, retried=True)
        assert str(again.value) == str(told.value)
        assert open_window(RUN, ledger, retried=False) is None


class TestSettled:
    def test_where_nothing_was_migrated_nothing_is_watched(self) -> None:
        ledger = a_ledger()
        assert settled(RUN, ledger) == {"watched": False, "sentence": "nothing was migrated"}
        assert recorded(ledger, RUN, NEEDLESS) is None, "whoever did not look knows nothing"
        note(ledger, RUN, NOTHING_PENDING, {"revisions": ["c"]})
        for _ in range(2):
            assert settled(RUN, ledger) == {"watched": False, "sentence": "nothing was migrated"}
        [said] = all_recorded(ledger, RUN, NEEDLESS)
        assert said.payload["sentence"] == "nothing was to be migrated, the schema is the release's already (c)"

    async def test_what_was_migrated_is_to_be_watched_until_that_has_passed(self) -> None:
        ledger = migrated()
        assert settled(RUN, ledger) is None
        done = conclude(RUN, ledger, await begun(ledger), outcome("PASSED"))
        assert settled(RUN, ledger) == done

    async def test_what_has_failed_is_not_settled(self) -> None:
        ledger = migrated()
        with pytest.raises(FailsOnNewSchema):
            conclude(RUN, ledger, await begun(ledger), outcome("FIRED"))
        assert settled(RUN, ledger) is None

    @pytest.mark.parametrize("kind", UNDONE)
    def test_what_was_undone_by_whomever_cannot_pass(self, kind: str) -> None:
        ledger = migrated()
        record(ledger, a_run("a rollback"), kind, {})
        with pytest.raises(FailsOnNewSchema, match="has been undone"):
            settled(RUN, ledger)

    def test_that_another_run_has_changed_nothing_undoes_nothing(self) -> None:
        ledger = migrated()
        record(ledger, a_run("another"), LEFT_OLD, {})
        assert settled(RUN, ledger) is None
        record(ledger, RUN, LEFT_OLD, {})
        with pytest.raises(FailsOnNewSchema, match="has been undone"):
            settled(RUN, ledger)

    def test_what_an_earlier_run_has_taken_back_is_nobodys_obstacle(self) -> None:
        ledger = a_ledger()
        record(ledger, a_run("earlier"), TAKEN_BACK, {})
        record(ledger, RUN, MIGRATED, {}, at=T0)
        assert settled(RUN, ledger) is None


class TestWhatAnotherRunHasLeft:
    @pytest.mark.parametrize("kind", [MIGRATED, MIGRATION_INTENDED])
    async def test_it_is_watched_from_now_on(self, kind: str) -> None:
        ledger, before = a_ledger(), time.time()
        left = record(ledger, a_run("another"), kind, {}, at=T0)
        assert settled(RUN, ledger) is None
        window = await begun(ledger)
        assert window.migrated == left.sequence
        assert before <= window.began_at == window.deadline - 600
        assert settled(RUN, ledger) is None
        done = conclude(RUN, ledger, window, outcome("PASSED"))
        assert settled(RUN, ledger) == settled(a_run("a third"), ledger) == done

    async def test_a_watch_that_has_failed_is_none_that_has_passed(self) -> None:
        ledger, another = migrated("another"), a_run("another")
        window = await begin_window(another, cast(Cluster, Traffic()), ledger)
        with pytest.raises(FailsOnNewSchema):
            conclude(another, ledger, window, outcome("FIRED"))
        assert settled(RUN, ledger) is None

    async def test_what_has_passed_on_an_earlier_migration_is_no_pass_for_a_later_one(self) -> None:
        ledger, another = migrated("another"), a_run("another")
        window = await begin_window(another, cast(Cluster, Traffic()), ledger)
        record(ledger, RUN, MIGRATED, {"revisions": ["d"]}, at=T0)
        conclude(another, ledger, window, outcome("PASSED"))
        assert settled(RUN, ledger) is None

    async def test_what_is_taken_back_after_its_watch_has_failed_does_not_pass(self) -> None:
        ledger = migrated("another")
        with pytest.raises(FailsOnNewSchema):
            conclude(RUN, ledger, await begun(ledger), outcome("FIRED"))
        record(ledger, RUN, TAKEN_BACK, {})
        with pytest.raises(FailsOnNewSchema, match="has been undone"):
            settled(RUN, ledger)

    async def test_whoever_decides_anew_is_told_what_nobody_has_seen_to_be_well(self) -> None:
        ledger, another = a_ledger(), a_run("another")
        assert not_seen_well(RUN, ledger) == ()
        record(ledger, another, MIGRATION_INTENDED, {})
        [began, *_] = not_seen_well(RUN, ledger)
        assert began == "run another has begun to migrate, how far it came is not recorded"
        record(ledger, another, MIGRATED, {}, at=T0)
        [differs, unseen, unwatched] = not_seen_well(RUN, ledger)
        assert differs.startswith("run another has migrated, and has not seen the schema")
        assert unseen == "nobody has seen the running version work on the schema that run another left"
        assert unwatched == "its watch has not ended"
        record(ledger, another, MIGRATION_VERIFIED, {})
        window = await begin_window(another, cast(Cluster, Traffic()), ledger)
        with pytest.raises(FailsOnNewSchema):
            conclude(another, ledger, window, outcome("FIRED"))
        assert not_seen_well(RUN, ledger) == (unseen, "its watch did not pass: so it was")
        assert not_seen_well(another, ledger) == ()
        conclude(RUN, ledger, await begun(ledger), outcome("PASSED"))
        assert not_seen_well(RUN, ledger) == ()


class TestLeftHalfWay:
    async def test_it_is_watched_from_now_on_and_the_migration_that_goes_on_anew(self) -> None:
        ledger, before = a_ledger(), time.time()
        record(ledger, RUN, MIGRATION_INTENDED, {}, at=T0)
        half = await begun(ledger)
        assert before <= half.began_at
        applied = record(ledger, RUN, MIGRATED, {}, at=T0)
        assert open_window(RUN, ledger, retried=True) is None
        whole = await begun(ledger)
        assert (whole.number, whole.migrated, whole.began_at) == (1, applied.sequence, T0.timestamp())
        conclude(RUN, ledger, half, outcome("PASSED"))
        assert settled(RUN, ledger) is None
        conclude(RUN, ledger, whole, outcome("PASSED"))
        assert settled(RUN, ledger) is not None
        assert len(all_recorded(ledger, RUN, MIGRATION_WATCHED)) == 2

    async def test_what_was_watched_and_had_changed_nothing_is_no_obstacle_to_another_try(self) -> None:
        ledger = a_ledger()
        record(ledger, RUN, MIGRATION_INTENDED, {})
        await begun(ledger)
        record(ledger, RUN, LEFT_OLD, {})
        record(ledger, RUN, MIGRATION_INTENDED, {}, number=2)
        record(ledger, RUN, MIGRATED, {}, number=2, at=T0)
        assert settled(RUN, ledger) is None
        assert (await begun(ledger)).number == 1

    def test_what_has_changed_nothing_is_not_watched(self) -> None:
        ledger = a_ledger()
        record(ledger, RUN, MIGRATION_INTENDED, {})
        record(ledger, RUN, LEFT_OLD, {})
        assert settled(RUN, ledger) == {"watched": False, "sentence": "nothing was migrated"}


class TestEnding:
    async def test_a_pass_is_recorded_with_the_figures_of_the_window(self) -> None:
        ledger = migrated()
        window = await begun(ledger)
        done = conclude(RUN, ledger, window, outcome("PASSED"))
        [entry] = all_recorded(ledger, RUN, MIGRATION_WATCHED)
        payload = entry.payload
        assert (payload["result"], payload["slot"], payload["until"]) == (
            "PASSED",
            "blue",
            "2030-05-01T09:10:00+00:00",
        )
        assert payload["measures"] == {"requests": 9000, "errors": 0}
        assert done == {
            "watched": True,
            **{name: payload[name] for name in ("slot", "until", "sentence", "measures")},
        }
        assert all_recorded(ledger, RUN, MIGRATION_WATCH_FAILED) == ()

    @pytest.mark.parametrize("kind", UNDONE)
    async def test_what_was_undone_meanwhile_passes_no_more(self, kind: str) -> None:
        ledger = migrated()
        window = await begun(ledger)
        record(ledger, a_run("a rollback"), kind, {})
        with pytest.raises(FailsOnNewSchema, match="has been undone"):
            conclude(RUN, ledger, window, outcome("PASSED"))
        assert all_recorded(ledger, RUN, MIGRATION_WATCHED) == ()

    @pytest.mark.parametrize(
        ("ended", "said", "remedy"),
        [
            (outcome("FIRED"), "the running version fails on the new schema", "what taking the schema back"),
            (outcome("HELD", ("availability", "DEGRADED", "")), "the running version fails", "clear this task"),
            (outcome("HELD", ("criteria.error_rate", "ROLLBACK", "")), "the running version fails", "clear this"),
            (outcome("HELD", ("data.openmetrics", "UNKNOWN", "")), "nobody knows how", "clear this task"),
            (outcome("MOVED", ("probe", "DEGRADED", "")), "nobody knows how", "clear this task"),
        ],
    )
    async def test_all_else_is_recorded_and_left_to_humans(
        self, ended: WatchOutcome, said: str, remedy: str
    ) -> None:
        ledger = migrated()
        window = await begun(ledger)
        with pytest.raises(FailsOnNewSchema, match=rf"{said}.*so it was.*way_back\.ask.*{remedy}") as failed:
            conclude(RUN, ledger, window, ended)
        assert not failed.value.retryable, "the way back is offered at once, not after another watch"
        [entry] = all_recorded(ledger, RUN, MIGRATION_WATCH_FAILED)
        assert (entry.payload["result"], entry.payload["measures"]["requests"]) == (ended.result, 9000)
        assert all_recorded(ledger, RUN, MIGRATION_WATCHED) == ()

    @pytest.mark.parametrize("kind", UNDONE)
    async def test_what_was_undone_during_the_window_does_not_pass(self, kind: str) -> None:
        ledger = migrated()
        window = await begun(ledger)
        record(ledger, a_run("another"), kind, {})
        with pytest.raises(FailsOnNewSchema, match="has been undone"):
            conclude(RUN, ledger, window, outcome("PASSED"))
        assert all_recorded(ledger, RUN, MIGRATION_WATCHED, MIGRATION_WATCH_FAILED) == ()

    async def test_the_account_is_not_recorded_twice(self) -> None:
        ledger = migrated()
        window = await begun(ledger)
        account = Kept.load({"account": {"began_at": 1.0, "source": "openmetrics"}}).account
        with pytest.raises(FailsOnNewSchema):
            conclude(RUN, ledger, window, outcome("HELD", account=account))
        [entry] = all_recorded(ledger, RUN, MIGRATION_WATCH_FAILED)
        assert entry.payload["account"] is None

    async def test_without_the_ledger_nothing_passes_and_a_failure_is_told_all_the_same(self) -> None:
        window = await begun(migrated())

        class Out(MemoryLedger):
            def append(self, new: Any) -> Any:
                raise LedgerUnavailable("out")

        out = cast(Ledger, Out(list(cast(MemoryLedger, migrated()).written)))
        with pytest.raises(LedgerUnavailable):
            conclude(RUN, out, window, outcome("PASSED"))
        with pytest.raises(FailsOnNewSchema, match="the running version fails"):
            conclude(RUN, out, window, outcome("FIRED"))


class TestCalling:
    async def test_trouble_is_told_as_that_of_any_watch_and_an_end_once_with_what_to_do(self) -> None:
        window = await begun(migrated())
        assert called_for(window, outcome("PASSED")) == ()
        [notice] = called_for(window, outcome("NOTICE", pages=("metrics",)))
        assert notice.what == "the watch has no usable metrics"
        [end] = called_for(window, outcome("FIRED", pages=("held",)))
        assert (end.what, end.seen) == ("the running version fails on the new schema", "so it was")
        assert "way_back.ask" in end.remedy
        [later] = called_for(window, replace_at(outcome("FIRED"), timedelta(hours=2)))
        assert later.key == end.key
        second = window.model_copy(update={"number": 1})
        assert called_for(second, outcome("FIRED"))[0].key != end.key
        [moved] = called_for(window, outcome("MOVED"))
        assert moved.what.startswith("nobody knows")


def replace_at(told: WatchOutcome, later: timedelta) -> WatchOutcome:
    return told.model_copy(update={"at": told.at + later.total_seconds()})


async def test_the_run_is_watched_as_the_traffic_service_binds_it() -> None:
    """An adopted installation is one of the slots: whoever begins is given the run with it."""
    run = replace(RUN, environment=RUN.environment.model_copy(update={"replicas": 7}))
    window = await begin_window(run, cast(Cluster, Traffic()), migrated())
    assert window.environment.replicas == 7
